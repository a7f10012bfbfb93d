"""The layer: anywhere in a network, any size, theta on request, N transforms, its own rate."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn

import spatial_transformer as stn
from spatial_transformer.errors import DTypeError, OptionError, ShapeError

LOCALISATION = "fully_connected"


def localisation():
    return stn.make_localisation(LOCALISATION, "affine", in_shape=(1, 8, 8))


class Told(nn.Module):
    """A localisation network that says what it is told."""

    def __init__(self, theta):
        super().__init__()
        self.theta = nn.Parameter(theta)

    def forward(self, image):
        return self.theta.expand(len(image), *self.theta.shape)


@pytest.mark.parametrize("transform", stn.list_transforms())
def test_starts_as_the_identity(transform):
    if not stn.make_transform(transform).has_identity:
        pytest.skip(f"{transform} has no identity")
    image = torch.rand(2, 3, 9, 11)
    layer = stn.SpatialTransformer(LOCALISATION, transform)
    # a basis of one's own is multiplied out; the others are exact
    tolerance = 1e-5 if transform == "linear_basis" else 0
    torch.testing.assert_close(layer(image), image, rtol=0, atol=tolerance)


@pytest.mark.parametrize("size", [None, (5, 7), (20, 30), 6])
def test_any_size_to_any_size(size):
    layer = stn.SpatialTransformer(LOCALISATION, "affine", size)
    wanted = {None: (9, 11), 6: (6, 6)}.get(size, size)
    assert layer(torch.rand(2, 3, 9, 11)).shape == (2, 3, *wanted)


def test_is_warp_with_the_networks_theta_and_its_options():
    theta = torch.tensor([0.7, 0.1, 0.9, -0.2, 0.8, 0.0])
    image = torch.rand(2, 3, 8, 8)
    options = {
        "kernel": "nearest",
        "padding": "fill",
        "fill": [1.0, 2.0, 3.0],
        "align_corners": True,
    }
    layer = stn.SpatialTransformer(Told(theta), "affine", (5, 6), **options)
    wanted = stn.warp(image, theta.expand(2, 6), "affine", (5, 6), **options)
    assert torch.equal(layer(image), wanted)


def test_theta_on_request():
    image = torch.rand(2, 1, 8, 8)
    layer = stn.SpatialTransformer(LOCALISATION, "attention")
    warped, theta = layer(image, return_theta=True)
    assert theta.shape == (2, 3)
    assert torch.equal(warped, layer(image))
    always = stn.SpatialTransformer(LOCALISATION, "attention", return_theta=True)
    assert isinstance(always(image), tuple)
    assert isinstance(always(image, return_theta=False), torch.Tensor)


def test_trains_in_the_middle_of_a_network():
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(),
        stn.SpatialTransformer(LOCALISATION, "affine", (6, 6)),
        nn.Conv2d(4, 4, 3), stn.SpatialTransformer(LOCALISATION, "similarity"),
        nn.Flatten(), nn.LazyLinear(3),
    )  # fmt: skip
    net(torch.rand(5, 1, 12, 12)).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    assert net[2].localisation.head.bias.grad.abs().sum() > 0


class TestParallel:
    def test_side_by_side_in_the_channels(self):
        theta = torch.randn(3, 6)
        image = torch.rand(2, 2, 8, 8)
        layer = stn.Parallel(Told(theta), "affine", (4, 5), count=3)
        warped, found = layer(image, return_theta=True)
        assert warped.shape == (2, 6, 4, 5)
        assert torch.equal(found[0], theta)
        for n in range(3):
            wanted = stn.warp(image, theta[n].expand(2, 6), "affine", (4, 5))
            torch.testing.assert_close(warped[:, 2 * n : 2 * n + 2], wanted, rtol=0, atol=1e-6)

    def test_stacked(self):
        layer = stn.Parallel(LOCALISATION, "attention", 4, count=2, stack=True)
        assert layer(torch.rand(3, 5, 8, 8)).shape == (3, 2, 5, 4, 4)

    def test_needs_as_many_thetas(self):
        layer = stn.Parallel(Told(torch.zeros(2, 6)), "affine", count=3)
        with pytest.raises(ShapeError, match=r"theta \(B, 3, 6\), got \(2, 2, 6\)"):
            layer(torch.rand(2, 1, 8, 8))
        with pytest.raises(OptionError, match="count must be"):
            stn.Parallel(LOCALISATION, "affine", count=0)


class TestParameters:
    def net(self):
        return nn.Sequential(stn.SpatialTransformer(localisation()), nn.Flatten(), nn.Linear(64, 3))

    def test_groups(self):
        net = self.net()
        ours = list(stn.localisation_parameters(net))
        assert len(ours) == 8
        rest, group = stn.param_groups(net, lr=0.5, localisation_lr_scale=0.01)
        assert rest["lr"] == 0.5
        assert group["lr"] == 0.005
        assert {id(p) for p in group["params"]} == {id(p) for p in ours}
        together = rest["params"] + group["params"]
        assert sorted(map(id, together)) == sorted(map(id, net.parameters()))
        torch.optim.SGD(stn.param_groups(net, 0.1))

    def test_a_shared_network_counts_once(self):
        shared = localisation()
        net = nn.Sequential(stn.SpatialTransformer(shared), stn.SpatialTransformer(shared))
        assert len(list(stn.localisation_parameters(net))) == 8

    def test_lazy_layers_are_told(self):
        with pytest.raises(OptionError, match="run one batch through it first"):
            stn.param_groups(stn.SpatialTransformer(LOCALISATION, "affine"), 0.1)


def test_copies_pickles_and_states():
    image = torch.rand(2, 1, 28, 28)
    for transform in stn.list_transforms():
        net = stn.SpatialTransformer("convolutional", transform)
        net(image)
        for p in net.parameters():
            torch.nn.init.normal_(p, std=0.05)
        wanted = net(image)
        assert torch.equal(copy.deepcopy(net)(image), wanted)
        assert torch.equal(pickle.loads(pickle.dumps(net))(image), wanted)
        other = stn.SpatialTransformer("convolutional", transform)
        other.load_state_dict(net.state_dict())
        assert torch.equal(other(image), wanted)


@pytest.mark.parametrize("name", ["fully_connected", "convolutional"])
def test_a_state_loaded_before_the_first_image_is_of_its_size(name):
    net, other = (stn.SpatialTransformer(name, "affine") for _ in range(2))
    net(torch.rand(2, 1, 28, 28))
    other.load_state_dict(net.state_dict())
    with pytest.raises(ShapeError, match="this localisation network is for images of one size"):
        copy.deepcopy(other)(torch.rand(2, 1, 36, 36))
    other(torch.rand(2, 1, 28, 28))
    for a, b in zip(net.modules(), other.modules(), strict=True):
        if isinstance(a, nn.Linear):
            assert a.in_features == b.in_features == b.weight.shape[1]


def test_mismatch_of_network_and_transform_is_told_at_once():
    net = stn.make_localisation(LOCALISATION, "attention")
    with pytest.raises(ShapeError, match="predicts 3 parameters, but transform 'affine' takes 6"):
        stn.SpatialTransformer(net, "affine")


@pytest.mark.parametrize(
    "fill", [0.0, [0.0, 1.0, 2.0], torch.zeros(3), nn.Parameter(torch.ones(3))]
)
def test_any_fill_is_shown(fill):
    layer = stn.SpatialTransformer(LOCALISATION, padding="fill", fill=fill)
    assert "padding='fill', fill=" in repr(layer)


def test_channels_last_is_kept_by_transforms_side_by_side():
    image = torch.rand(2, 3, 8, 9).contiguous(memory_format=torch.channels_last)
    layer = stn.Parallel("fully_connected", "affine", count=2)
    assert layer(image).is_contiguous(memory_format=torch.channels_last)
    assert layer(image.contiguous()).is_contiguous()


def test_what_a_localisation_network_would_stumble_over_is_named():
    image = torch.randint(0, 255, (2, 1, 8, 8), dtype=torch.uint8)
    for layer in (
        stn.SpatialTransformer("convolutional"),
        stn.Parallel("fully_connected", count=2),
        stn.Cascade(["fully_connected"]),
    ):
        with pytest.raises(DTypeError, match="must be floating point .* got torch.uint8"):
            layer(image)

    class Own(nn.Module):
        def forward(self, image):
            return stn.Affine().identity().expand(len(image), -1) + 0 * image.float().mean()

    own = stn.SpatialTransformer(Own(), kernel="nearest")
    assert torch.equal(own(image), image)  # which nearest copies, whatever it is
    with pytest.raises(OptionError, match="localisation must be a module or a name, got None"):
        stn.SpatialTransformer(None)
    for count in (0, 2.5, "2", True):
        with pytest.raises(OptionError, match="count must be a positive number"):
            stn.Parallel("fully_connected", count=count)
    for size in (0, (1, 2, 3), (4, -1), "8"):
        with pytest.raises(ShapeError, match="size must be"):
            stn.SpatialTransformer("fully_connected", size=size)


def test_a_kernel_that_learns_is_a_part_of_the_layer():
    class Gauss(nn.Module):
        support = 2.0

        def __init__(self):
            super().__init__()
            self.width = nn.Parameter(torch.tensor(1.0))

        def forward(self, d):
            return torch.exp(-((d / self.width) ** 2))

    assert stn.Parallel("fully_connected", count=np.int64(2)).count == 2
    layer = stn.SpatialTransformer("fully_connected", "affine", 4, kernel=Gauss())
    names = [n for n, _ in layer.named_parameters() if "width" in n]
    assert len(names) == 1
    layer(torch.rand(2, 1, 8, 8)).sum().backward()
    assert layer.get_parameter(names[0]).grad.abs() > 0
    again = copy.deepcopy(layer)
    with torch.no_grad():
        again.get_parameter(names[0]).fill_(0.5)
    image = torch.rand(1, 1, 8, 8)
    assert not torch.equal(again(image), layer(image))
