"""IDSIA's network: layers and budgets by hand, and the transformers in it."""

import pytest
import torch

from spatial_transformer.errors import OptionError, ShapeError
from spatial_transformer.experiments.models.build import ModelConfig, build_model, count_parameters
from spatial_transformer.experiments.models.idsia import IDSIA
from spatial_transformer.experiments.models.normalise import local_contrast
from spatial_transformer.modules.classifier import Transformed
from spatial_transformer.modules.parameters import localisation_parameters
from spatial_transformer.modules.spatial_transformer import SpatialTransformer

MODELS = ("idsia", "st_idsia", "st2_idsia", "st3_idsia")


def config(name, **options):
    options = {"padding": "border", "parameters": 60_000} | options
    return ModelConfig(name, (3, 32, 32), 43, **options)


def by_hand(n):
    """32 -> 7x7 padded by 2: 30 -> 15 -> 4x4 padded by 1: 14 -> 7 -> 6 -> 3."""
    convolutions = 3 * 49 * 2 * n + 2 * n + 16 * (2 * n * 3 * n + 3 * n * 5 * n) + 3 * n + 5 * n
    norms = 2 * (2 + 3 + 5) * n
    dense = 9 * 5 * n * 6 * n + 6 * n + 6 * n * 43 + 43
    return convolutions + norms + dense


@pytest.mark.parametrize("n", [8, 50])
def test_parameters_by_hand(n):
    assert count_parameters(IDSIA((3, 32, 32), n)) == by_hand(n)


def test_idsias_own_width():
    model = IDSIA((3, 48, 48), 50)
    shapes = [tuple(p.shape) for p in model.parameters() if p.dim() > 1]
    assert shapes == [
        *((100, 3, 7, 7), (150, 100, 4, 4), (250, 150, 4, 4)),
        *((300, 250 * 5 * 5), (43, 300)),
    ]


#: localisation: halved, 5x5 and pool twice: 16 -> 8 -> 4 (from 15: 7 -> 3; from 7: 3)
INPUT = 32 * 75 + 32 + 48 * 32 * 25 + 48 + 48 * 4 * 4 * 48 + 48 + 48 * 6 + 6


def inner(channels):
    return 32 * channels * 25 + 32 + 32 * 3 * 3 * 48 + 48 + 48 * 6 + 6


def test_transformers_are_on_top_of_the_same_classifier():
    sizes = [count_parameters(build_model(config(name, parameters=by_hand(8)))) for name in MODELS]
    classifier, *more = sizes
    assert classifier == by_hand(8)
    # after the first convolution 15 is halved to 7 before the 5x5; after the second it is 7
    assert [m - classifier for m in more] == [
        INPUT,
        INPUT + inner(16),
        INPUT + inner(16) + inner(24),
    ]


@pytest.mark.parametrize("name", MODELS)
def test_shapes_and_a_step(name):
    model = build_model(config(name))
    transformers = [m for m in model.modules() if isinstance(m, SpatialTransformer)]
    assert len(transformers) == MODELS.index(name)
    assert all(t.sampler.options()["padding"] == "border" for t in transformers)
    images = torch.rand(2, 3, 32, 32)
    sizes = []
    for transformer in transformers:
        transformer.register_forward_hook(
            lambda _, __, out: sizes.append((out[0] if isinstance(out, tuple) else out).shape[-1])
        )
    logits = model(images)
    assert logits.shape == (2, 43)
    assert sizes == [32, 15, 7][: len(transformers)]
    logits.square().sum().backward()
    heads = [t.localisation.head.weight.grad for t in transformers]
    assert all(g.isfinite().all() and g.abs().max() > 0 for g in heads)
    counted = sum(p.numel() for p in localisation_parameters(model))
    assert counted == count_parameters(model) - count_parameters(build_model(config("idsia")))


def test_transformers_start_as_the_identity():
    """The classifier's own scores, whatever its transformers."""
    plain, full = (build_model(config(name)).eval() for name in ("idsia", "st3_idsia"))
    assert isinstance(full, Transformed)
    layers = [m for m in full.classifier if not isinstance(m, SpatialTransformer)]
    for one, two in zip(plain, layers, strict=True):
        one.load_state_dict(two.state_dict())
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(full(images), plain(images))


def test_what_is_shown_is_the_photograph():
    """The transformer samples raw pixels; they are normalised behind it."""
    model = build_model(config("st_idsia")).eval()
    images = torch.rand(2, 3, 32, 32)
    _, warped, _ = model(images, return_warped=True)
    assert torch.equal(warped, images)
    assert torch.equal(model.classifier[0](images), local_contrast(images))
    # and its brightness is nothing to go by
    torch.testing.assert_close(model(images / 2 + 0.1), model(images), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("transform", ["attention", "similarity", "translation"])
def test_constrained_transforms(transform):
    model = build_model(config("st2_idsia", transform=transform))
    assert {m.transform.name for m in model.modules() if isinstance(m, SpatialTransformer)} == {
        transform
    }
    assert config("st2_idsia", transform=transform).label == f"st2_idsia_{transform}"


def test_other_sizes():
    assert build_model(config("st_idsia", size=24))(torch.rand(2, 3, 32, 32)).shape == (2, 43)
    big = ModelConfig("st3_idsia", (3, 48, 48), 43, padding="border")
    assert build_model(big)(torch.rand(2, 3, 48, 48)).shape == (2, 43)
    with pytest.raises(ShapeError, match=r"IDSIA needs larger images than \(12, 12\) pixels"):
        build_model(ModelConfig("idsia", (3, 12, 12)))
    with pytest.raises(OptionError, match="st_idsia is for images, got in_shape"):
        build_model(ModelConfig("st_idsia", (1, 30, 30, 30)))
