"""Localisation networks: the paper's shapes, the identity at the start, bad options."""

import pytest
import torch
from torch import nn

import spatial_transformer as stn
from spatial_transformer.errors import OptionError, ShapeError
from spatial_transformer.experiments.models.build import count_parameters

TRANSFORMS = stn.list_transforms()


@pytest.mark.parametrize("name", stn.list_localisations())
@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("count", [None, 3])
def test_starts_at_the_identity_whatever_the_input(name, transform, count):
    t = stn.make_transform(transform)
    net = stn.make_localisation(name, t, count=count)
    theta = net(torch.randn(2, 3, 36, 44))
    wanted = t.identity() if count is None else t.identity().expand(count, -1)
    assert torch.equal(theta, wanted.expand_as(theta))
    assert theta.shape == ((2, t.num_params) if count is None else (2, count, t.num_params))
    assert torch.equal(net.head.weight, torch.zeros_like(net.head.weight))


def test_the_papers_networks_have_the_papers_sizes():
    """Appendix A.3, by hand, for a 28x28 and a 42x42 image."""
    dense = stn.make_localisation("fully_connected", "affine", in_shape=(1, 28, 28))
    assert count_parameters(dense) == (784 * 32 + 32) + 2 * (32 * 32 + 32) + (32 * 6 + 6)
    # 42 -> 21 -> conv 17 -> pool 8 -> conv 4
    conv = stn.make_localisation("convolutional", "affine", in_shape=(1, 42, 42))
    assert count_parameters(conv) == (25 * 20 + 20) + (25 * 400 + 20) + (320 * 20 + 20) + 126
    kinds = [type(m).__name__ for m in conv.body]
    assert kinds == [
        "AvgPool2d", "Conv2d", "ReLU", "MaxPool2d", "Conv2d", "ReLU", "Flatten", "Linear", "ReLU",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "dims", "options"),
    [("fully_connected", 2, {}), ("convolutional", 2, {"downsample": 1}),
     ("convolutional", 3, {"downsample": 1})],
)  # fmt: skip
@pytest.mark.parametrize("sized", [True, False])
def test_features_tell_images_apart(name, dims, options, sized):
    """With torch's own initial weights they differ by 0.04 here, of images that differ by 1."""
    torch.manual_seed(0)
    image = torch.randn(64, 1, *(30,) * dims)
    transform = stn.make_transform("affine", **({"dims": 3} if dims == 3 else {}))
    in_shape = image.shape[1:] if sized else None
    net = stn.make_localisation(name, transform, in_shape=in_shape, **options)
    net(image[:1])
    assert 0.3 < net.body(image).std(0).mean() < 1
    for layer in net.body:
        if hasattr(layer, "bias"):
            assert torch.equal(layer.bias, torch.zeros_like(layer.bias))


def test_the_head_learns():
    net = stn.make_localisation("fully_connected", "affine", in_shape=(1, 8, 8))
    net(torch.rand(4, 1, 8, 8)).square().sum().backward()
    assert net.head.weight.grad.abs().sum() > 0


def test_any_body_will_do():
    net = stn.Localisation(
        nn.Sequential(nn.LazyConv2d(4, 3), nn.ReLU()), "similarity", in_shape=(2, 9, 9)
    )
    assert net(torch.rand(5, 2, 9, 9)).shape == (5, 4)


@pytest.mark.parametrize("name", stn.list_localisations())
def test_an_image_of_another_size_is_told_of(name):
    net = stn.make_localisation(name, "affine")
    net(torch.rand(2, 1, 32, 32))
    with pytest.raises(ShapeError, match="for images of one size, .* numbers here, this one gives"):
        net(torch.rand(2, 1, 40, 40))
    bare = stn.Localisation(nn.Flatten(), "affine", in_shape=(1, 3, 3))
    with pytest.raises(ShapeError, match="they give 9 numbers here, this one gives 16"):
        bare(torch.rand(2, 1, 4, 4))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("transform", ["affine", "thin_plate_spline", "piecewise_affine"])
def test_a_layer_in_half_precision_starts_at_the_identity(transform, dtype):
    layer = stn.SpatialTransformer("fully_connected", transform)
    image = torch.rand(2, 2, 10, 11).to(dtype)
    layer(image.float())
    assert torch.equal(layer.to(dtype)(image), image)


def test_theta_is_float32_under_autocast():
    net = stn.make_localisation("convolutional", "affine")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        theta = net(torch.rand(2, 1, 28, 28))
    assert theta.dtype == torch.float32


def test_same_seed_same_weights():
    def build():
        torch.manual_seed(7)
        return stn.make_localisation("convolutional", "affine", in_shape=(1, 28, 28))

    a, b = build().state_dict(), build().state_dict()
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_bad_input_is_named():
    net = stn.make_localisation("convolutional", "affine")
    assert net.smallest == 28
    with pytest.raises(ShapeError, match=r"\(1, 1, 27, 40\) is too small.*needs 28x28"):
        net(torch.zeros(1, 1, 27, 40))
    with pytest.raises(OptionError, match="count must be a positive number"):
        stn.make_localisation("fully_connected", "affine", count=0)
    with pytest.raises(OptionError, match="filters must name"):
        stn.make_localisation("convolutional", "affine", filters=())
