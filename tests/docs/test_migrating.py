"""What docs/migrating.md says of derivatives at whole pixels, torch's and ours.

One-sided derivatives are differences of torch's values in float64, which are linear between pixels.
"""

import pytest
import torch
import torch.nn.functional as F

import spatial_transformer as stn

PADDINGS = ("zeros", "border", "reflection")


def sample_torch(image, grid, kernel, padding, align_corners):
    return F.grid_sample(image, grid, kernel, padding, align_corners)


def sample_ours(image, grid, kernel, padding, align_corners, backend="auto"):
    return stn.sample(
        image, grid, kernel=kernel, padding=padding, align_corners=align_corners, backend=backend
    )


def sample_eager(*arguments):
    return sample_ours(*arguments, backend="eager")


class Line:
    """Whole pixels along one axis, from two images' widths before the image to two behind it; the
    other coordinates lie between pixels."""

    def __init__(self, dims, axis, align_corners, dtype=torch.float64):
        # pixels whose normalised coordinates float32 holds exactly
        self.n = 9 if align_corners else 8
        self.pixels = torch.arange(-2 * self.n, 3 * self.n + 1)
        self.half = (self.n - 1) / 2 if align_corners else self.n / 2
        self.image = torch.rand(1, 1, *[self.n] * dims, dtype=torch.float64).to(dtype)
        self.axis, self.dims, self.align_corners = axis, dims, align_corners

    def grid(self):
        pixels = torch.full((len(self.pixels), self.dims), 2.25)
        pixels[:, self.axis] = self.pixels
        grid = (pixels - (self.n - 1) / 2) / self.half
        return grid.to(self.image.dtype).reshape(1, *[1] * (self.dims - 1), -1, self.dims)

    def values(self, sampler, kernel, padding):
        image, grid = self.image.double(), self.grid().double()
        return sampler(image, grid, kernel, padding, self.align_corners).flatten()

    def slopes(self, sampler, kernel, padding):
        """The derivatives by the pixel, but for the first and last."""
        grid = self.grid().requires_grad_()
        out = sampler(self.image, grid, kernel, padding, self.align_corners)
        (found,) = torch.autograd.grad(out.sum(), grid)
        return found[..., self.axis].flatten()[1:-1].double() / self.half


def of_torch(line, padding, left, right):
    """The page's table."""
    pixel, n = line.pixels[1:-1], line.n
    if padding == "zeros":
        return right
    if padding == "border":
        return torch.where(pixel == 0, 0, right)
    place = pixel % (2 * n - 2 if line.align_corners else 2 * n)
    ends = [0, n - 1] if line.align_corners else [0, n - 1, n, 2 * n - 1]
    slope = torch.where(place < n, right, left)
    return torch.where(torch.isin(place, torch.tensor(ends)), 0, slope)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize(("dims", "axis"), [(2, 0), (2, 1), (3, 0), (3, 1), (3, 2)])
def test_bilinear(dims, axis, padding, align_corners, dtype):
    line = Line(dims, axis, align_corners, dtype)
    steps = line.values(sample_torch, "bilinear", padding).diff()
    left, right = steps[:-1], steps[1:]
    close = {"rtol": 0, "atol": 2e-6 if dtype == torch.float32 else 1e-13}
    table = of_torch(line, padding, left, right)
    torch.testing.assert_close(line.slopes(sample_torch, "bilinear", padding), table, **close)
    for sampler in (sample_ours, sample_eager):
        torch.testing.assert_close(line.slopes(sampler, "bilinear", padding), right, **close)
    # where they differ
    apart = line.pixels[1:-1][(table - right).abs() > 1e-3].tolist()
    inside = [k for k in apart if 0 <= k < line.n]
    last = [line.n - 1] if padding == "reflection" and align_corners else []
    assert inside == ([] if padding == "zeros" else [0, *last])
    assert bool(set(apart) - set(inside)) == (padding == "reflection")


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize(("kernel", "dims"), [("bicubic", 2), ("nearest", 2), ("nearest", 3)])
def test_bicubic_and_nearest_are_the_same(kernel, dims, padding, align_corners):
    line = Line(dims, 0, align_corners)
    theirs = line.slopes(sample_torch, kernel, padding)
    assert bool(theirs.any()) == (kernel == "bicubic")
    for sampler in (sample_ours, sample_eager):
        torch.testing.assert_close(
            line.slopes(sampler, kernel, padding), theirs, rtol=0, atol=1e-13
        )


def test_at_the_identity_torch_takes_either_where_float32_cannot_hold_the_pixels():
    shares = {}
    for sampler in (sample_torch, sample_ours):
        image = torch.rand(1, 1, 28, 28)
        grid = F.affine_grid(torch.eye(2, 3)[None], image.shape, align_corners=False)
        grid.requires_grad_()
        sampler(image, grid, "bilinear", "border", False).sum().backward()
        slopes, steps = grid.grad[0, ..., 0] / 14, image[0, 0].diff(dim=1)
        inner = slopes[:-1, 1:-1]
        right, left = ((inner - s[:-1]).abs() < 1e-4 for s in (steps[:, 1:], steps[:, :-1]))
        shares[sampler] = right.float().mean().item(), left.float().mean().item()
        assert bool((slopes[:-1, 0] == 0).all()) == (sampler is sample_torch)
    assert shares[sample_ours][0] == 1
    assert 0.8 < shares[sample_torch][0] < 0.95
    assert shares[sample_torch][1] > 0.05
