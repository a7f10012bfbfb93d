"""Linearised multi-sampling: the same values, a wider and exact-on-planes gradient."""

import math

import pytest
import torch

import spatial_transformer as stn
from spatial_transformer.errors import OptionError
from spatial_transformer.samplers.linearised import linearised_sample


def setup(size=(16, 20)):
    source = torch.Generator().manual_seed(0)
    image = torch.rand(2, 3, *size, generator=source, dtype=torch.float64)
    grid = torch.rand(2, 4, 5, 2, generator=source, dtype=torch.float64) - 0.5
    return image, grid.requires_grad_()


def test_values_are_the_samplers_and_so_is_the_images_gradient():
    image, grid = setup()
    image.requires_grad_()
    ours, plain = linearised_sample(image, grid, stn.sample), stn.sample(image, grid)
    assert torch.equal(ours, plain)
    grads = [torch.autograd.grad(x.square().sum(), image)[0] for x in (ours, plain)]
    torch.testing.assert_close(*grads)


@pytest.mark.parametrize("points", [6, 8, 10])
def test_the_gradient_of_a_plane_is_its_slope(points):
    v, u = torch.meshgrid(torch.arange(16.0).double(), torch.arange(20.0).double(), indexing="ij")
    image = (0.3 * u - 0.7 * v)[None, None].expand(2, 1, -1, -1)
    _, grid = setup()
    linearised_sample(image, grid, stn.sample, points=points).sum().backward()
    wanted = torch.tensor([0.3 * 10, -0.7 * 8], dtype=torch.float64).expand_as(grid)
    torch.testing.assert_close(grid.grad, wanted)


def test_it_is_least_squares():
    """Against numpy's lstsq on the same places."""
    image, grid = setup()
    linearised_sample(image, grid, stn.sample, radius=3.0, points=6).sum().backward()
    offsets = []
    for i in range(6):
        angle = 2 * math.pi * ((i % 3) / 3 + (i >= 3) / 6)
        length = 3.0 if i < 3 else 1.5
        offsets.append([length * math.cos(angle), length * math.sin(angle)])
    offsets = torch.tensor(offsets, dtype=torch.float64)
    half = torch.tensor([10.0, 8.0], dtype=torch.float64)
    values = torch.stack([stn.sample(image, grid.detach() + o / half) for o in offsets])
    system = torch.cat([offsets, torch.ones(6, 1).double()], dim=1)
    fit = torch.linalg.lstsq(system, values.sum(2).flatten(1)).solution[:2]
    wanted = (fit * half[:, None]).T.reshape(grid.shape)
    torch.testing.assert_close(grid.grad, wanted, rtol=0, atol=1e-10)


def test_reaches_where_bilinear_sees_nothing():
    """A dot three pixels away: bilinear's gradient is zero, this one points at it."""
    image = torch.zeros(1, 1, 15, 15)
    image[0, 0, 7, 10] = 1
    grid = torch.zeros(1, 1, 1, 2, requires_grad=True)
    stn.sample(image, grid).sum().backward()
    assert grid.grad.abs().sum() == 0
    linearised_sample(image, grid, stn.sample, radius=3.0).sum().backward()
    assert grid.grad[0, 0, 0, 0] > 0.1
    assert grid.grad[0, 0, 0, 1].abs() < 1e-6


def test_not_finite_and_bad_options():
    image, grid = setup()
    with torch.no_grad():
        grid[0, 0, 0, 0] = math.nan
    out = linearised_sample(image, grid, stn.sample)
    assert (out[0, :, 0, 0] == 0).all()
    out.sum().backward()
    assert torch.isfinite(grid.grad).all()
    assert torch.equal(grid.grad[0, 0, 0], torch.zeros(2).double())
    with pytest.raises(OptionError, match="even number of points"):
        linearised_sample(image, grid, stn.sample, points=5)
    with pytest.raises(OptionError, match=r"is for \(B, C, H, W\)"):
        linearised_sample(torch.zeros(1, 1, 2, 2, 2), grid, stn.sample)
