"""The classifiers: the paper's layers, equal budgets."""

import math

import numpy as np
import pytest
import torch

from spatial_transformer.errors import OptionError, ShapeError
from spatial_transformer.experiments.models.build import (
    ModelConfig,
    build_model,
    count_parameters,
)
from spatial_transformer.experiments.models.cnn import CNN, FirstConv2d, convolve_rows
from spatial_transformer.experiments.models.fcn import FCN
from spatial_transformer.experiments.models.parts import Project


@pytest.mark.parametrize("size", [(28, None), (42, 28), (60, 30)])
@pytest.mark.parametrize("transform", ["affine", "projective", "thin_plate_spline"])
@pytest.mark.parametrize("name", ["fcn", "cnn", "st_fcn", "st2_fcn", "st_cnn"])
def test_every_model_of_table_1_has_400k_parameters_within_2_percent(name, transform, size):
    n, sampled = size
    model = build_model(ModelConfig(name, (1, n, n), transform=transform, size=sampled))
    assert count_parameters(model) == pytest.approx(400_000, rel=0.02)
    assert model(torch.rand(2, 1, n, n)).shape == (2, 10)


def test_parameters_by_hand():
    assert count_parameters(FCN((1, 28, 28), 128)) == 784 * 128 + 128 + 128 * 129 + 1290
    # 28 -> conv 20 -> pool 10 -> conv 4 -> pool 2
    wanted = 81 * 32 + 32 + 49 * 32 * 32 + 32 + 4 * 32 * 10 + 10
    assert count_parameters(CNN((1, 28, 28), 32)) == wanted


def test_a_transformed_model_tells_what_it_saw():
    model = build_model(ModelConfig("st_cnn", (1, 42, 42), size=28, parameters=40_000))
    logits, warped, theta = model(torch.rand(3, 1, 42, 42), return_warped=True)
    assert logits.shape == (3, 10)
    assert warped.shape == (3, 1, 28, 28)
    assert theta.shape == (3, 6)


def test_bad_options_are_named():
    with pytest.raises(OptionError, match="a budget of 10 parameters is too small"):
        build_model(ModelConfig("fcn", parameters=10))
    with pytest.raises(OptionError, match="of 9000 .* too small: the transformer alone takes 27"):
        build_model(ModelConfig("st_fcn", parameters=9000))
    with pytest.raises(ShapeError, match=r"at least 24x24 pixels, got \(20, 20\)"):
        build_model(ModelConfig("cnn", (1, 20, 20)))
    with pytest.raises(OptionError, match="unknown model 'resnet'"):
        build_model(ModelConfig("resnet"))


NOT_COUNTS = (0, -1, 2.5, True, math.nan, "x", [1])


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("classes", (*NOT_COUNTS, None)),
        ("parameters", (*NOT_COUNTS, None)),
        ("length", (*NOT_COUNTS, None)),
        ("size", NOT_COUNTS),
        ("in_shape", (3, None, "abc", (), (28, 28), (1, 2, 3, 4, 5), (1, 28.0, 28), (1, 0, 28))),
        ("model", (3, None)),
        ("transform", (3, None)),
        ("padding", (3, None)),
    ],
)
def test_every_option_of_a_model_is_checked_by_name(name, values):
    for value in values:
        with pytest.raises(OptionError, match=rf"\b{name} must be .*, got "):
            ModelConfig(**{name: value})


def test_numbers_of_numpy_become_pythons():
    """Which a checkpoint can hold."""
    config = ModelConfig(in_shape=[np.int64(1), 28, 28], classes=np.int32(4), size=np.int64(14))
    assert config == ModelConfig(in_shape=(1, 28, 28), classes=4, size=14)
    assert {type(n) for n in (*config.in_shape, config.classes, config.size)} == {int}


def test_rows_convolve_as_torch_does():
    image = torch.rand(3, 2, 15, 17, dtype=torch.double, requires_grad=True)
    weight = torch.rand(5, 2, 3, 4, dtype=torch.double, requires_grad=True)
    bias = torch.rand(5, dtype=torch.double, requires_grad=True)
    ours, theirs = (f(image, weight, bias) for f in (convolve_rows, torch.conv2d))
    torch.testing.assert_close(ours, theirs)
    head = torch.rand_like(theirs)
    for a, b in zip(*(torch.autograd.grad((y * head).sum(), [image, weight, bias])
                      for y in (ours, theirs)), strict=True):  # fmt: skip
        torch.testing.assert_close(a, b)


def test_a_first_convolution_pads_with_zeros():
    ours = FirstConv2d(2, 5, 3, padding=2).double()
    image = torch.rand(3, 2, 6, 7, dtype=torch.double, requires_grad=True)
    expected = torch.conv2d(image, ours.weight, ours.bias, padding=2)
    torch.testing.assert_close(ours(image), expected)
    torch.testing.assert_close(ours(image.detach()), expected)


def test_a_cnn_gives_the_same_numbers_with_and_without_the_images_gradient():
    model = CNN((1, 28, 28), 8)
    image = torch.rand(2, 1, 28, 28)
    torch.testing.assert_close(
        model(image.clone().requires_grad_()), model(image), rtol=1e-5, atol=1e-6
    )


def test_two_transformers_see_both_channels_and_learn_apart():
    config = ModelConfig("st2_fcn", (2, 42, 42), 19, size=21)
    model = build_model(config)
    assert config.label == "st2_fcn_affine"
    assert count_parameters(model) == pytest.approx(400_000, rel=0.02)
    logits, warped, theta = model(torch.rand(3, 2, 42, 42), return_warped=True)
    assert (logits.shape, warped.shape) == ((3, 19), (3, 4, 21, 21))
    assert theta.shape == (3, 2, 6)
    one, two = model.transformer.localisation.networks
    assert not {id(p) for p in one.parameters()} & {id(p) for p in two.parameters()}
    assert not torch.equal(one.body[1].weight, two.body[1].weight)


def test_the_locator_starts_with_the_middle_of_the_canvas():
    model = build_model(ModelConfig("locator", (1, 84, 84), size=28))
    crop, theta = model(torch.rand(2, 1, 84, 84), return_theta=True)
    assert crop.shape == (2, 1, 28, 28)
    middle = torch.tensor([[0.385, 0, 0], [0, 0.385, 0]])
    torch.testing.assert_close(model.transform.matrix(theta), middle.expand(2, 2, 3))


def test_volumes_are_projected_and_transformed_in_3d():
    for name in ("cnn", "st_cnn"):
        model = build_model(ModelConfig(name, (1, 30, 30, 30), size=28))
        assert count_parameters(model) == pytest.approx(400_000, rel=0.02)
        volume = torch.rand(2, 1, 30, 30, 30)
        assert model(volume).shape == (2, 10)
    _, warped, theta = model(volume, return_warped=True)
    assert warped.shape == (2, 1, 28, 28, 28)
    assert theta.shape == (2, 12)
    assert torch.equal(Project()(volume), volume.mean(2))
