"""The C++ backend reads what others read."""

import math
from itertools import product

import pytest
import torch
from tests.ops.cpu_cases import (
    DEEP,
    IN_PLACE,
    SHAPES,
    assert_equal,
    case,
    family_of,
    fill_for,
    results,
)

import spatial_transformer as stn
from spatial_transformer.ops.cpu import load
from spatial_transformer.samplers.padding import PADDINGS

pytestmark = pytest.mark.skipif(load.LIBRARY is None, reason=f"no C++ backend: {load.WHY}")


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("kernel", ["nearest", "bilinear"])
@pytest.mark.parametrize("shape", SHAPES + IN_PLACE, ids=str)
def test_equals_eager_and_the_oracle_in_float64(shape, kernel, padding, align_corners):
    image, theta, out = case(shape, torch.float64)
    options = {
        "kernel": kernel,
        "padding": padding,
        "align_corners": align_corners,
        "fill": fill_for(padding, shape[1]),
    }
    ours = results(image, theta, out, "cpu", **options)
    for backend in ("eager", "reference"):
        for a, b in zip(ours, results(image, theta, out, backend, **options), strict=True):
            scale = max(1.0, b.abs().max().item())
            torch.testing.assert_close(a, b, rtol=0, atol=2e-12 * scale)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("kernel", ["nearest", "bilinear"])
@pytest.mark.parametrize("shape", DEEP, ids=str)
def test_volumes_equal_eager_in_float64(shape, kernel, padding, align_corners):
    image, theta, out = case(shape, torch.float64)
    options = {
        "kernel": kernel,
        "padding": padding,
        "align_corners": align_corners,
        "fill": fill_for(padding, shape[1]),
        "transform": family_of(shape),
    }
    ours = results(image, theta, out, "cpu", **options)
    assert_equal(ours, results(image, theta, out, "eager", **options), 2e-12)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("shape", SHAPES + IN_PLACE, ids=str)
def test_bicubic_equals_eager_in_float64(shape, padding, align_corners):
    image, theta, out = case(shape, torch.float64)
    options = {
        "kernel": "bicubic",
        "padding": padding,
        "align_corners": align_corners,
        "fill": fill_for(padding, shape[1]),
    }
    ours = results(image, theta, out, "cpu", **options)
    assert_equal(ours, results(image, theta, out, "eager", **options), 2e-12)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("kernel", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("shape", [SHAPES[1], SHAPES[3], IN_PLACE[0]], ids=str)
def test_projective_equals_eager_in_float64(shape, kernel, padding, align_corners):
    """Points behind the horizon among them; just before it coordinates are as large as 1e7."""
    batch, channels, size, out = shape
    image = torch.rand(batch, channels, *size, dtype=torch.float64)
    theta = stn.Projective().identity().double() + 0.3 * torch.randn(batch, 8).double()
    theta[:, 6:] += torch.tensor([0.9, -0.8])
    options = {
        "kernel": kernel,
        "padding": padding,
        "align_corners": align_corners,
        "fill": fill_for(padding, channels),
        "transform": "projective",
    }
    ours = results(image, theta, out, "cpu", **options)
    assert_equal(ours, results(image, theta, out, "eager", **options), 1e-7)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("kernel", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("channels", [1, 3, 8, 13, 24])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_channels_last_is_read_and_written_as_it_is(dtype, channels, kernel, padding):
    """The same numbers (in another order of addition), in the image's layout."""
    for size in ((6, 7), (40, 39)):
        image, theta, _ = case((2, channels, size, size), torch.float32)
        image = image.to(dtype)
        last = image.contiguous(memory_format=torch.channels_last)
        options = {"kernel": kernel, "padding": padding, "fill": fill_for(padding, channels)}
        found = results(last, theta, (9, 8), "cpu", **options)
        wanted = results(image, theta, (9, 8), "cpu", **options)
        assert found[0].is_contiguous(memory_format=torch.channels_last)
        assert found[1].is_contiguous(memory_format=torch.channels_last)
        tolerance = {torch.float32: 2e-6, torch.float64: 2e-13, torch.bfloat16: 1e-2}[dtype]
        assert_equal([x.double() for x in found], [x.double() for x in wanted], tolerance)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("kernel", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("shape", [SHAPES[1], SHAPES[3], IN_PLACE[0], *DEEP[1:3]], ids=str)
def test_any_grid_whatever_equals_eager(shape, kernel, padding):
    """Points that are not finite, or so far away that they have no fraction left."""
    batch, channels, size, out = shape
    if len(size) == 3 and kernel == "bicubic":
        pytest.skip("bicubic is fused in 2-D alone")
    image = torch.rand(batch, channels, *size, dtype=torch.float64, requires_grad=True)
    grid = 2 * torch.randn(batch, *out, len(size), dtype=torch.float64)
    bad = torch.tensor([math.nan, math.inf, -math.inf, 1e30, -1e30, 1e300, -(2.0**40), 3e9])
    grid.view(-1)[::7] = bad.double().repeat(grid.numel())[: len(grid.view(-1)[::7])]
    grid.requires_grad_()
    options = {"kernel": kernel, "padding": padding, "fill": fill_for(padding, channels)}
    found = []
    for backend in ("cpu", "eager"):
        value = stn.sample(image, grid, backend=backend, **options)
        weight = torch.linspace(-1, 1, value.numel(), dtype=value.dtype).reshape(value.shape)
        found.append((value, *torch.autograd.grad((value * weight).sum(), (image, grid))))
    for ours, eager in zip(*found, strict=True):
        torch.testing.assert_close(ours, eager, rtol=0, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("kernel", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(28, 28), (12, 13, 14)], ids=str)
def test_any_affine_matrix_whatever_equals_eager(size, kernel, padding, dtype):
    """Entries that are not finite, or lead there, of a crop that stays away from the edges: all
    that it reads is the fill value, at the edge."""
    dims = len(size)
    if dims == 3 and kernel == "bicubic":
        pytest.skip("bicubic is fused in 2-D alone")
    transform = stn.Affine(dims=dims)
    good = transform.identity().to(dtype).view(dims, dims + 1) * 0.2
    good[:, -1] = 0.5
    bad = [math.nan, math.inf, -math.inf]
    if padding in ("zeros", "fill", "border"):  # others repeat: nothing is left of where
        bad += [1e30, torch.finfo(dtype).max / 1e4]
    theta = good.flatten().repeat(len(bad) * dims * (dims + 1) + 1, 1)
    for n, (value, at) in enumerate(product(bad, range(dims * (dims + 1)))):
        theta[n, at] = value
    image = torch.rand(1, 2, *size, dtype=dtype)
    options = {"kernel": kernel, "padding": padding, "fill": fill_for(padding, 2)}
    dirt = torch.full_like(image, 123).expand(len(theta), *image.shape[1:])
    found = []
    for backend in ("cpu", "eager"):
        stn.warp(dirt, good.flatten()[None], transform, backend=backend, **options)
        inputs = image.clone().requires_grad_(), theta.clone().requires_grad_()
        value = stn.warp(*inputs, transform, backend=backend, **options)
        found.append((value.detach(), *torch.autograd.grad(value.square().sum(), inputs)))
    assert not found[1][2][-1].isnan().any()
    for ours, eager in zip(*found, strict=True):
        scale = eager.abs().amax().clamp(min=1)
        torch.testing.assert_close(ours / scale, eager / scale, rtol=0, atol=2e-4)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e30, -1e30, 3e38, 2.0**31])
@pytest.mark.parametrize("padding", PADDINGS)
def test_any_theta_whatever_is_read_in_bounds(padding, bad):
    image = torch.rand(2, 2, 9, 7)
    for entry in range(6):
        theta = stn.Affine().identity().repeat(2, 1)
        theta[1, entry] = bad
        out, to_image, to_theta = results(
            image, theta, (8, 300), "cpu", padding=padding, fill=fill_for(padding, 2)
        )
        assert ((out >= -1) & (out <= 1)).all()
        assert to_image.isfinite().all()
        assert to_theta.isfinite().all() or abs(bad) >= 1e30
        if not math.isfinite(bad):
            fill = fill_for(padding, 2)
            fill = torch.zeros(2) if fill is None else fill
            assert torch.equal(out[1], fill[:, None, None].expand_as(out[1]))
            assert torch.equal(to_theta[1], torch.zeros(6))
            assert torch.equal(to_image[1], torch.zeros_like(image[1]))


@pytest.mark.parametrize("kernel", ["bilinear", "bicubic"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("channels", [1, 2, 9])
def test_one_coordinate_that_is_not_finite_reads_the_fill_value_itself(kernel, bad, channels):
    torch.manual_seed(0)
    image, fill = torch.randn(1, channels, 5, 7), torch.linspace(0.1, 0.9, channels)
    grid = 2 * torch.rand(1, 9, 11, 2) - 1
    grid[..., 0] = bad
    options = {"kernel": kernel, "padding": "fill", "fill": fill, "backend": "cpu"}
    wanted = fill[:, None, None].expand(channels, 9, 11)
    # and not a sum of it times weights that add up to 1 within rounding
    assert torch.equal(stn.sample(image, grid, **options)[0], wanted)
    theta = torch.tensor([[bad, 0.0, 0.0, 0.3, 0.7, 0.1]])
    assert torch.equal(stn.warp(image, theta, "affine", (9, 11), **options)[0], wanted)
