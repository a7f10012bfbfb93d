"""The Triton backend reads what others read."""

import pytest
import torch
from tests.ops.triton_cases import (
    BAD,
    DEVICE,
    KERNELS,
    SHAPES,
    both,
    fill_for,
    forward,
    gradients,
    guarded,
    launch,
    matrices,
    random,
)

from spatial_transformer.ops.reference import sample_reference
from spatial_transformer.samplers.padding import PADDINGS
from spatial_transformer.transforms.matrix import grid_from_matrix

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("interpreted")]


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize(
    ("kernel", "align_corners"),
    [
        *(("nearest", False), ("nearest", True), ("bilinear", False), ("bilinear", True)),
        ("bicubic", True),  # False is with the grids
    ],
)
def test_matrices_equal_eager_in_float64(kernel, align_corners, padding):
    image, maps = random(1, 2, 5, 4), matrices(1, 2)
    both(image, maps, (9, 8), kernel, padding, fill_for(padding, image), align_corners)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("kernel", KERNELS)
def test_grids_equal_eager_in_float64(kernel, padding):
    image = random(1, 2, 4, 5)
    grid = grid_from_matrix(matrices(1, 2), (3, 6), False) + 0.1 * random(1, 3, 6, 2)
    # as a network makes them: coordinates first
    grid = grid.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
    align = kernel == "bilinear"
    both(image, grid, (3, 6), kernel, padding, fill_for(padding, image), align, grid=True)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("padding", PADDINGS)
def test_projective_maps_equal_eager_in_float64(padding, align_corners):
    image = random(1, 2, 5, 6)
    maps = matrices(1, 2, "projective", spread=0.4)
    maps[:, 2, :2] += 1.5  # so that the horizon crosses the output
    grid = grid_from_matrix(maps, (5, 7), align_corners)
    assert grid.isinf().any()
    assert grid.isfinite().any()
    fill = fill_for(padding, image)
    both(image, maps, (5, 7), "bilinear", padding, fill, align_corners)


@pytest.mark.parametrize("grid", [False, True], ids=["matrix", "grid"])
@pytest.mark.parametrize("padding", PADDINGS)
def test_volumes_equal_eager_in_float64(padding, grid):
    image, maps = random(1, 1, 3, 4, 2), matrices(1, 3, spread=0.4)
    size = (2, 3, 4) if padding == "fill" else (1, 4, 5)
    align = padding in ("zeros", "fill", "border", "wrap") or grid
    if grid:
        maps = grid_from_matrix(maps, size, align)
    both(image, maps, size, "bilinear", padding, fill_for(padding, image), align, grid=grid)


@pytest.mark.parametrize("kernel", ["nearest", "bicubic"])
@pytest.mark.parametrize("padding", ["fill", "reflection"])
def test_volumes_with_other_kernels(kernel, padding):
    image, maps = random(1, 1, 4, 3, 5), matrices(1, 3, spread=0.3)
    both(image, maps, (1, 3, 4), kernel, padding, fill_for(padding, image), False)


@pytest.mark.parametrize("padding", PADDINGS)
def test_equals_the_oracle(padding):
    image, grid = random(1, 2, 4, 5).requires_grad_(), 3 * torch.randn(1, 3, 4, 2).to(DEVICE)
    grid = grid.double().requires_grad_()
    fill = fill_for(padding, image)
    options = ("bilinear", padding, fill, False)
    wanted = sample_reference(image, grid, *options)
    weight = torch.randn_like(wanted)
    wanted = (wanted, *gradients(wanted, weight, image, grid))
    image, grid = image.detach(), grid.detach()
    out = forward(launch, image, grid, (3, 4), *options, grid=True)
    more = {"grid": True, "needs_image_grad": True, "needs_map_grad": True}
    ours = (out, *launch.backward(weight, image, grid, *options, **more))
    for a, b in zip(ours, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


@pytest.mark.parametrize("padding", ["zeros", "reflection"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_odd_shapes(shape, padding):
    batch, channels, size, out = shape
    both(random(batch, channels, *size), matrices(batch, 2), out, "bilinear", padding, None, True)


@pytest.mark.parametrize("counts", [(1, 2, 2), (4, 2, 1), (2, 1, 1)])
@pytest.mark.parametrize("grid", [False, True], ids=["matrix", "grid"])
def test_consecutive_outputs_share_images_maps_and_fills(counts, grid):
    images, count, fills = counts
    image, maps = random(images, 2, 3, 4), matrices(count, 2)
    if grid:
        maps = grid_from_matrix(maps, (3, 2), False)
    fill = fill_for("fill", image, fills)
    both(image, maps, (3, 2), "bilinear", "fill", fill, False, grid=grid)


@pytest.mark.parametrize("padding", PADDINGS)
def test_any_theta_whatever_is_read_in_bounds(padding):
    image = guarded(random(1, 1, 9, 7, dtype=torch.float32))
    for kind, kernel in (("affine", "bilinear"), ("projective", "nearest")):
        entries = 6 if kind == "affine" else 9
        maps = matrices(entries, 2, kind, spread=0.0, dtype=torch.float32)
        for k in range(entries):
            maps[k].view(-1)[k] = BAD[(k + PADDINGS.index(padding)) % len(BAD)]
        fill = fill_for(padding, image)
        options = (kernel, padding, fill, False)
        out = forward(launch, image, maps, (8, 9), *options, grid=False)
        assert out.isfinite().all()
        level = 0.0 if fill is None else fill.item()
        lost = ~maps.isfinite().flatten(1).all(1)
        if kind == "affine":  # a projective one may be infinitely deep, which is a point
            assert lost.any()
            assert (out[lost] == level).all()
            more = {"grid": False, "needs_image_grad": True, "needs_map_grad": True}
            to_image, to_maps = launch.backward(torch.ones_like(out), image, maps, *options, **more)
            assert to_image.isfinite().all()
            assert (to_maps[lost] == 0).all()


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_any_grid_whatever_equals_eager(padding, dtype):
    """Points that are not finite, or so far away that they have no fraction left."""
    image = guarded(random(1, 2, 5, 7, dtype=dtype))
    grid = 2 * torch.randn(1, 5, 8, 2, dtype=dtype)
    bad = torch.tensor([*BAD, 3e9, 7e8, 1e300 if dtype == torch.float64 else 1e38], dtype=dtype)
    grid.view(-1)[::5] = bad.repeat(10)[: len(grid.view(-1)[::5])]
    fill = fill_for(padding, image)
    options = ("bilinear", padding, fill, False)
    # float32 rounds products of coordinates as large as these as it likes
    tolerance = 1e-10 if dtype == torch.float64 else 2e-5
    (_, to_image, to_grid), _ = both(
        image, grid.to(DEVICE), (5, 8), *options, grid=True, tolerance=tolerance
    )
    assert to_image.isfinite().all()
    lost = ~grid.isfinite().all(-1)
    assert (to_grid.cpu()[lost] == 0).all()


@pytest.mark.parametrize("kernel", ["nearest", "bilinear"])
@pytest.mark.parametrize("padding", ["wrap", "mirror", "reflection"])
def test_far_off_it_is_what_the_oracle_says(padding, kernel):
    image, grid = random(1, 1, 1, 16, dtype=torch.float32), torch.zeros(1, 8, 256, 2)
    halves = torch.randint(-(2**25), 2**25, (1, 8, 256)).double() / 2
    grid[..., 0] = (halves - 7.5) / 8
    told = (grid[..., 0].double() * 8 + 7.5 == halves) & (halves == halves.float())
    assert told.sum() > 1000
    read = forward(
        launch, image, grid.to(DEVICE), (8, 256), kernel, padding, None, False, grid=True
    )
    wanted = sample_reference(image.cpu().double(), grid.double(), kernel, padding, None, False)
    difference = (read.cpu().double() - wanted).abs()[:, 0][told]
    assert difference.max() < 1e-6


def test_an_infinite_fill_leaves_no_nan():
    image, grid = random(1, 2, 3, 4), torch.full((1, 3, 3, 2), torch.nan).to(DEVICE)
    fill = torch.full((1, 2, 1), torch.inf).to(image)
    options = ("bilinear", "fill", fill, False)
    out = forward(launch, image, grid, (3, 3), *options, grid=True)
    assert (out == torch.inf).all()
    more = {"grid": True, "needs_image_grad": True, "needs_map_grad": True}
    for found in launch.backward(torch.ones_like(out), image, grid, *options, **more):
        assert (found == 0).all()
