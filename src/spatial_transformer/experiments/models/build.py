"""The classifiers by name, as wide as a parameter budget allows."""

from collections.abc import Callable, Sequence

import torch
from torch import nn

from spatial_transformer.errors import OptionError
from spatial_transformer.experiments.models.cnn import CNN
from spatial_transformer.experiments.models.fcn import FCN
from spatial_transformer.experiments.models.idsia import IDSIA, localise
from spatial_transformer.experiments.models.locator import Locator
from spatial_transformer.experiments.models.parts import Independent, Project
from spatial_transformer.experiments.models.sequence import (
    cnn_sequence,
    st_rnn_sequence,
    st_sequence,
)
from spatial_transformer.experiments.models.small import (
    SmallClassifier,
    SmallCNN,
    SmallLocalisation,
)
from spatial_transformer.localisation import make_localisation
from spatial_transformer.modules.cascade import Cascade
from spatial_transformer.modules.classifier import Transformed
from spatial_transformer.modules.spatial_transformer import Parallel, SpatialTransformer
from spatial_transformer.names import LocalisationName
from spatial_transformer.pretrained.models import MODELS as MODELS
from spatial_transformer.pretrained.models import ModelConfig as ModelConfig
from spatial_transformer.pretrained.models import build_model as build_model
from spatial_transformer.samplers.padding import check_padding
from spatial_transformer.transforms import TRANSFORMS


def count_parameters(model: nn.Module) -> int:
    """The number of learnable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def solve_width(build: Callable[[int], nn.Module], budget: int) -> int:
    """The width whose network comes nearest to ``budget`` parameters.

    Args:
        build: Makes the network of a width; must grow with it.
        budget: Number of parameters.

    Raises:
        OptionError: If even width 1 is over the budget.

    Examples:
        >>> solve_width(lambda n: nn.Linear(n, n, bias=False), 90)
        9
    """

    def cost(width: int) -> int:
        with torch.device("meta"):
            return count_parameters(build(width))

    if cost(1) > budget:
        raise OptionError(f"a budget of {budget} parameters is too small: width 1 takes {cost(1)}")
    high = 2
    while cost(high) < budget:
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if cost(middle) <= budget else (low, middle)
    return min((low, high), key=lambda n: abs(cost(n) - budget))


def _remaining(config: ModelConfig, part: nn.Module, name: str) -> int:
    """The budget of all but a part, which must not take all of it."""
    taken = count_parameters(part)
    if taken >= config.parameters:
        raise OptionError(
            f"a budget of {config.parameters} parameters is too small: the {name} alone "
            f"takes {taken}"
        )
    return config.parameters - taken


def _classifier(
    kind: Callable[[Sequence[int], int, int], nn.Module],
    config: ModelConfig,
    budget: int,
    views: int = 1,
) -> nn.Module:
    size = config.sampled_size if config.has_transformer else config.in_shape[1:]
    shape = (config.in_shape[0] * views, *size[-2:])
    width = solve_width(lambda n: kind(shape, n, config.classes), budget)
    classifier = kind(shape, width, config.classes)
    return nn.Sequential(Project(), classifier) if config.dims == 3 else classifier


def _transformed(
    kind: Callable[[Sequence[int], int, int], nn.Module],
    localisation: LocalisationName,
    views: int = 1,
) -> Callable[[ModelConfig], nn.Module]:
    """A classifier behind ``views`` transformers, each with a localisation network of its own."""

    def build(config: ModelConfig) -> nn.Module:
        options = {"dims": 3} if config.dims == 3 else {}
        transform = TRANSFORMS.make(config.transform, **options)
        size, padding = config.sampled_size, check_padding(config.padding)
        if config.dims == 3 and localisation == "convolutional":
            options = {"downsample": max(2, config.in_shape[-1] // 15)}  # to about 15 voxels
        else:
            options = {}
        networks = [
            make_localisation(localisation, transform, in_shape=config.in_shape, **options)
            for _ in range(views)
        ]
        transformer = (
            SpatialTransformer(networks[0], transform, size, padding=padding)
            if views == 1
            else Parallel(Independent(networks), transform, size, count=views, padding=padding)
        )
        left = _remaining(config, transformer, "transformer")
        return Transformed(transformer, _classifier(kind, config, left, views))

    return build


def _aligned(steps: int = 1, resample: bool = False) -> Callable[[ModelConfig], nn.Module]:
    """``SmallClassifier`` behind a cascade whose ``steps`` share one localisation network."""

    def build(config: ModelConfig) -> nn.Module:
        if config.dims != 2:
            raise OptionError(f"{config.model} is for images (C, H, W), got {config.in_shape}")
        transform = TRANSFORMS.make(config.transform)
        classifier = SmallClassifier((config.in_shape[0], *config.sampled_size), config.classes)
        left = _remaining(config, classifier, "classifier")

        def localise(units: int) -> nn.Module:
            return SmallLocalisation(config.in_shape, units, transform)

        stage = localise(solve_width(localise, left))
        transformer = Cascade(
            [stage],
            transform,
            config.sampled_size,
            steps=steps,
            resample=resample,
            padding=check_padding(config.padding),
        )
        return Transformed(transformer, classifier)

    return build


def _idsia(places: Sequence[int]) -> Callable[[ModelConfig], nn.Module]:
    """IDSIA's network with transformers at ``places`` (0: the input), on top of the budget.

    The network is as wide with them as without: what they gain is theirs.
    """

    def build(config: ModelConfig) -> nn.Module:
        if config.dims == 3:
            raise OptionError(f"{config.model} is for images, got in_shape {config.in_shape}")
        padding = check_padding(config.padding)

        def transformer(
            place: int, shape: tuple[int, ...], size: tuple[int, ...] | None = None
        ) -> SpatialTransformer:
            transform = TRANSFORMS.make(config.transform)
            network = localise(place, transform, shape)
            return SpatialTransformer(network, transform, size, padding=padding)

        size = config.sampled_size if config.has_transformer else config.in_shape[1:]
        shape = (config.in_shape[0], *size)
        width = solve_width(lambda n: IDSIA(shape, n, config.classes), config.parameters)
        inside = [place for place in places if place]
        classifier = IDSIA(shape, width, config.classes, inside, transformer)
        if not places:
            return classifier
        return Transformed(transformer(0, config.in_shape, size), classifier)

    return build


MODELS.add("fcn", lambda config: _classifier(FCN, config, config.parameters))
MODELS.add("cnn", lambda config: _classifier(CNN, config, config.parameters))
MODELS.add("st_fcn", _transformed(FCN, "fully_connected"))
MODELS.add("st2_fcn", _transformed(FCN, "fully_connected", views=2))
MODELS.add("st_cnn", _transformed(CNN, "convolutional"))
MODELS.add("small", lambda config: _classifier(SmallCNN, config, config.parameters))
MODELS.add("st_small", _aligned())
for _steps in (2, 4):
    MODELS.add(f"st_series{_steps}", _aligned(_steps, resample=True))
    MODELS.add(f"st_ic{_steps}", _aligned(_steps))
MODELS.add("idsia", _idsia(()))
MODELS.add("st_idsia", _idsia((0,)))
MODELS.add("st2_idsia", _idsia((0, 1)))
MODELS.add("st3_idsia", _idsia((0, 1, 2)))
MODELS.add(
    "locator",
    lambda config: Locator(config.in_shape, config.sampled_size[0]),
)
for _network in (cnn_sequence, st_sequence, st_rnn_sequence):
    MODELS.add(_network.__name__, _network)
