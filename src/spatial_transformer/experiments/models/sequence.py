"""Networks that read a sequence of digits: a CNN, and behind one transformer or a recurrent one."""

from collections.abc import Sequence

from torch import Tensor, nn

from spatial_transformer.errors import ShapeError
from spatial_transformer.experiments.models.cnn import FirstConv2d
from spatial_transformer.localisation import Localisation
from spatial_transformer.localisation.layers import LazyLinear
from spatial_transformer.modules.classifier import Transformed
from spatial_transformer.modules.recurrent import Recurrent
from spatial_transformer.modules.spatial_transformer import SpatialTransformer
from spatial_transformer.pretrained.models import ModelConfig
from spatial_transformer.samplers.padding import check_padding
from spatial_transformer.transforms import TRANSFORMS

#: units of the dense layer before the scores, and of the recurrent state
DENSE, STATE = 400, 256


def convolutions(in_shape: Sequence[int], width: int, count: int) -> tuple[nn.Sequential, int]:
    """3x3 convolutions (no padding), 2x2 max-pools between them, and the number of features.

    The rectifiers come after the pools: the same numbers from a quarter of the work. Weights start
    as for localisation networks, so that features differ from image to image.

    Raises:
        ShapeError: If they do not fit into images of ``in_shape`` (C, H, W).
    """
    channels, *left = in_shape
    layers: list[nn.Module] = []
    for k in range(count):
        conv = nn.Conv2d(width, width, 3) if k else FirstConv2d(channels, width, 3)
        nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
        if conv.bias is not None:
            nn.init.zeros_(conv.bias)
        last = k == count - 1
        layers += [conv, nn.ReLU()] if last else [conv, nn.MaxPool2d(2), nn.ReLU()]
        left = [n - 2 if last else (n - 2) // 2 for n in left]
    if len(left) != 2 or min(left) < 1:
        raise ShapeError(f"{count} convolutions do not fit into images of {tuple(in_shape[1:])}")
    return nn.Sequential(*layers, nn.Flatten()), width * left[0] * left[1]


def features(in_shape: Sequence[int]) -> tuple[nn.Sequential, int]:
    """The first layers of both localisation networks, on half of the resolution."""
    halved = in_shape[0], *(n // 2 for n in in_shape[1:])
    layers, count = convolutions(halved, 20, 3)
    return nn.Sequential(nn.MaxPool2d(2), *layers), count


class Reader(nn.Sequential):
    """Convolutions, a dense layer, and the scores of each label of a sequence.

    Images ``(B, C, H, W)`` of ``in_shape`` (C, H, W) to logits ``(B, length, classes)``.

    Args:
        in_shape: (C, H, W) of an image.
        width: Filters of each convolution.
        depth: The number of convolutions.
        length: Labels of a sequence.
        classes: The number of classes.

    Raises:
        ShapeError: If the convolutions do not fit.
    """

    def __init__(
        self, in_shape: Sequence[int], width: int, depth: int, length: int, classes: int
    ) -> None:
        layers, count = convolutions(in_shape, width, depth)
        super().__init__(
            *layers,
            nn.Linear(count, DENSE),
            nn.ReLU(),
            nn.Linear(DENSE, length * classes),
            nn.Unflatten(1, (length, classes)),
        )


class Glimpses(nn.Module):
    """One classifier for all glimpses: ``(B, T, C, H, W)`` to logits ``(B, T, classes)``."""

    def __init__(self, reader: Reader) -> None:
        super().__init__()
        self.reader = reader

    def forward(self, glimpses: Tensor) -> Tensor:
        """See the class."""
        scores = self.reader(glimpses.flatten(0, 1))
        return scores.view(*glimpses.shape[:2], scores.shape[-1])


def cnn_sequence(config: ModelConfig) -> nn.Module:
    """Four convolutions of 32 filters at full resolution, 400 units, the scores of each label."""
    return Reader(config.in_shape, 32, 4, config.length, config.classes)


def st_sequence(config: ModelConfig) -> nn.Module:
    """A transformer, three convolutions of 96 filters, 400 units, the scores of each label.

    Note:
        Source: Sonderby et al. 2015, FFN-SPN.
    """
    transform = TRANSFORMS.make(config.transform)
    layers, _ = features(config.in_shape)
    channels, height, width = config.in_shape
    localisation = Localisation(
        nn.Sequential(*layers, LazyLinear(200), nn.ReLU()),
        transform,
        in_shape=(channels, height, width),
    )
    padding = check_padding(config.padding)
    transformer = SpatialTransformer(localisation, transform, config.sampled_size, padding=padding)
    seen = channels, *config.sampled_size
    return Transformed(transformer, Reader(seen, 96, 3, config.length, config.classes))


def st_rnn_sequence(config: ModelConfig) -> nn.Module:
    """A glimpse for each label, and one classifier for all: 3 convolutions of 32, 400 units.

    Note:
        Source: Sonderby et al. 2015, RNN-SPN.
    """
    layers, count = features(config.in_shape)
    channels, height, width = config.in_shape
    transformer = Recurrent(
        layers,
        nn.GRUCell(count, STATE),
        TRANSFORMS.make(config.transform),
        config.sampled_size,
        steps=config.length,
        in_shape=(channels, height, width),
        padding=check_padding(config.padding),
    )
    seen = channels, *config.sampled_size
    return Transformed(transformer, Glimpses(Reader(seen, 32, 3, 1, config.classes)))
