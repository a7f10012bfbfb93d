"""``sample`` against what shares no code with it: SciPy, torch, the float64 oracle, by hand."""

import math
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import ndimage

import spatial_transformer as stn
from spatial_transformer.samplers.padding import PADDINGS

KERNELS = ["nearest", "bilinear"]
TORCH_PADDINGS = ["zeros", "border", "reflection"]
SCIPY_MODES = {
    "zeros": "grid-constant",
    "fill": "grid-constant",
    "border": "nearest",
    "reflection": "mirror",  # with align_corners=True
    "mirror": "mirror",
    "wrap": "grid-wrap",
}
SHAPES_2D = [(1, 1), (5, 123), (1, 7), (7, 3), (6, 6)]
SHAPES_3D = [(1, 1, 1), (2, 3, 17), (4, 5, 3)]


def fill_for(padding, channels):
    return list(range(1, channels + 1)) if padding == "fill" else None


def random_case(shape, *, batch=2, channels=3, dtype=torch.float64, spread=1.2, out=(4, 5, 6)):
    dims = len(shape)
    image = torch.randn(batch, channels, *shape, dtype=dtype)
    return image, spread * torch.randn(batch, *out[-dims:], dims, dtype=dtype)


def away_from_kinks(image, grid, align_corners=False):
    """Move grid points off whole and half pixels, where one-sided derivatives differ."""
    out = grid.clone()
    for k in range(grid.shape[-1]):
        n = image.shape[-1 - k]
        half = (n - 1) / 2 if align_corners else n / 2
        u = grid[..., k] * half + (n - 1) / 2
        near = (2 * u).round() / 2
        u = torch.where((u - near).abs() < 0.05, near + 0.1, u)
        out[..., k] = (u - (n - 1) / 2) / half if half else grid[..., k]
    return out


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("shape", SHAPES_2D + SHAPES_3D, ids=str)
def test_equals_scipy(shape, kernel, padding):
    """map_coordinates of order 0 and 1 works in pixels: align_corners=True is its frame."""
    image, grid = random_case(shape)
    found = stn.sample(
        image, grid, kernel=kernel, padding=padding, align_corners=True, fill=fill_for(padding, 3)
    )
    for b in range(2):
        u = [(grid[b, ..., k] + 1) / 2 * (shape[-1 - k] - 1) for k in range(len(shape))]
        coordinates = torch.stack(u[::-1]).numpy()
        for c in range(3):
            wanted = ndimage.map_coordinates(
                image[b, c].numpy(),
                coordinates,
                order=KERNELS.index(kernel),
                mode=SCIPY_MODES[padding],
                cval=c + 1 if padding == "fill" else 0,
                prefilter=False,
            )
            np.testing.assert_allclose(found[b, c].numpy(), wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("padding", TORCH_PADDINGS)
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("shape", SHAPES_2D + SHAPES_3D, ids=str)
def test_equals_torch(shape, kernel, padding, align_corners):
    for dtype, tolerance in ((torch.float32, 1e-6), (torch.float64, 1e-12)):
        image, grid = random_case(shape, dtype=torch.float64)
        image = image.sigmoid().to(dtype)
        grid = away_from_kinks(image, grid, align_corners).to(dtype)
        image.requires_grad_()
        grid.requires_grad_()
        ours = stn.sample(image, grid, kernel=kernel, padding=padding, align_corners=align_corners)
        theirs = F.grid_sample(
            image, grid, mode=kernel, padding_mode=padding, align_corners=align_corners
        )
        # torch's own coordinates are good to a few ulp of the image's size
        torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance * max(1, max(shape) / 8))
        # the gradients, away from where one-sided derivatives differ
        weight = torch.rand_like(ours)
        mine = torch.autograd.grad((ours * weight).sum(), (image, grid))
        yours = torch.autograd.grad((theirs * weight).sum(), (image, grid))
        for a, b in zip(mine, yours, strict=True):
            scale = max(1.0, b.abs().max().item())
            torch.testing.assert_close(
                a, b, rtol=0, atol=4 * tolerance * max(1, max(shape) / 8) * scale
            )


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("shape", [*SHAPES_2D, (2, 3, 4)], ids=str)
def test_equals_the_oracle_and_equations_6_and_7(shape, kernel, padding, align_corners):
    """Values and gradients, whole pixels and far away included."""
    image, grid = random_case(shape)
    dims = len(shape)
    regular = stn.Affine(dims).grid(
        stn.Affine(dims).identity().double()[None], shape, align_corners
    )
    for points in (grid, 5 * grid, regular):
        image.requires_grad_()
        points = points.detach().requires_grad_()
        results = []
        for backend in ("eager", "reference"):
            out = stn.sample(
                image, points, kernel=kernel, padding=padding, align_corners=align_corners,
                fill=fill_for(padding, 3), backend=backend,
            )  # fmt: skip
            weight = torch.linspace(0, 1, out.numel(), dtype=out.dtype).reshape(out.shape)
            grads = torch.autograd.grad(
                (out * weight).sum(), (image, points), allow_unused=True, materialize_grads=True
            )
            results.append((out, *grads))
        for mine, oracle in zip(*results, strict=True):
            scale = max(1.0, oracle.abs().max().item())
            torch.testing.assert_close(mine, oracle, rtol=0, atol=1e-11 * scale)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("dims", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_gradcheck_and_gradgradcheck(dims, align_corners, padding):
    image, grid = random_case((3, 4, 5)[-dims:], batch=2, channels=2, out=(2, 2, 3))
    grid = away_from_kinks(image, grid, align_corners).requires_grad_()
    image.requires_grad_()
    fill = torch.tensor([0.5, -1.0], dtype=torch.float64) if padding == "fill" else None

    def function(image, grid):
        return stn.sample(image, grid, padding=padding, align_corners=align_corners, fill=fill)

    tight = {"eps": 1e-6, "atol": 1e-7, "rtol": 1e-6}
    assert torch.autograd.gradcheck(function, (image, grid), **tight)
    assert torch.autograd.gradgradcheck(function, (image, grid), **tight)


def test_gradients_reach_a_learnt_fill():
    image, grid = random_case((3, 3), channels=2)
    grid[0, 0, 0] = math.nan
    fill = torch.tensor([0.5, -1.0], dtype=torch.float64, requires_grad=True)
    for padding in ("fill", "border"):
        assert torch.autograd.gradcheck(
            lambda f, p=padding: stn.sample(image, grid, padding=p, fill=f), (fill,)
        )


class TestGradientAtWholePixels:
    """Equation (7) read literally gives U[x] there; ours is the right-hand derivative."""

    row = torch.tensor([1.0, 4.0, 9.0, 16.0])

    def slope(self, padding, u):
        grid = torch.zeros(1, 1, 1, 2)
        grid[..., 0] = u / 1.5 - 1  # align_corners=True
        grid.requires_grad_()
        image = self.row.reshape(1, 1, 1, 4)
        stn.sample(image, grid, padding=padding, align_corners=True).sum().backward()
        return grid.grad[0, 0, 0, 0].item() / 1.5

    @pytest.mark.parametrize("padding", PADDINGS[2:])
    @pytest.mark.parametrize("pixel", [0, 1, 2])
    def test_inside(self, padding, pixel):
        wanted = (self.row[pixel + 1] - self.row[pixel]).item()
        assert self.slope(padding, pixel) == pytest.approx(wanted, abs=1e-5)

    @pytest.mark.parametrize(
        ("padding", "wanted"),
        [("zeros", -16), ("border", 0), ("mirror", -7), ("wrap", -15), ("reflection", -7)],
    )
    def test_at_the_last_pixel(self, padding, wanted):
        assert self.slope(padding, 3) == pytest.approx(wanted, abs=1e-5)

    @pytest.mark.parametrize("backend", ["auto", "eager", "reference"])
    def test_of_theta_whoever_computes_it(self, backend):
        image = torch.tensor([0.0, 1, 3, 7, 15, 31]).repeat(1, 1, 5, 1)
        theta = torch.zeros(1, 2, requires_grad=True)
        warped = stn.warp(image, theta, "translation", padding="border", backend=backend)
        warped.sum().backward()
        # 5 rows of 1 + 2 + 4 + 8 + 16 and none at the last pixel; half the width is 3 pixels
        torch.testing.assert_close(theta.grad, torch.tensor([[465.0, 0.0]]), rtol=1e-6, atol=1e-5)

    def test_half_way_it_is_the_same_from_both_sides(self):
        assert self.slope("border", 1.5) == pytest.approx(5, abs=1e-5)


class TestIdentity:
    @pytest.mark.parametrize("align_corners", [False, True])
    @pytest.mark.parametrize("kernel", KERNELS)
    def test_returns_the_image_itself(self, kernel, align_corners):
        t = stn.Affine()
        sizes = [(n, m) for n in (1, 2, 3, 7, 64) for m in (1, 5, 28, 123, 500)]
        for size in [*sizes, (333, 1000), (1023, 1537)]:
            image = torch.randn(1, 1, *size)
            grid = t.grid(t.identity()[None], size, align_corners)
            for padding in PADDINGS:
                found = stn.sample(
                    image, grid, kernel=kernel, padding=padding, align_corners=align_corners,
                    fill=fill_for(padding, 1),
                )  # fmt: skip
                assert torch.equal(found, image), (size, padding)

    @pytest.mark.parametrize("align_corners", [False, True])
    def test_for_every_width(self, align_corners):
        t = stn.Affine()
        for n in range(1, 1538):
            image = torch.randn(1, 1, 1, n)
            grid = t.grid(t.identity()[None], (1, n), align_corners)
            assert torch.equal(stn.sample(image, grid, align_corners=align_corners), image), n

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    def test_in_every_dtype(self, dtype):
        image = torch.randn(2, 3, 37, 512).to(dtype)
        theta = stn.Affine().identity()[None].to(dtype)
        assert torch.equal(stn.warp(image, theta, "affine"), image)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    @pytest.mark.parametrize("transform", [n for n in stn.list_transforms() if n != "log_polar"])
    def test_by_every_transform(self, transform, dtype):
        t = stn.make_transform(transform)
        image = torch.randn(2, 3, 10, 11).to(dtype)
        for theta in (t.identity()[None].to(dtype), t.identity()[None]):
            if transform == "linear_basis" and dtype == torch.float64:  # which is multiplied out
                theta = theta.double()
            found = stn.warp(image, theta, t)
            exact = transform != "linear_basis" or dtype != torch.float64
            torch.testing.assert_close(found, image, rtol=0, atol=0 if exact else 1e-14)

    @pytest.mark.parametrize("align_corners", [False, True])
    @pytest.mark.parametrize("size", [(5, 7), (1, 123), (224, 28)])
    def test_by_the_oracle(self, size, align_corners):
        image = torch.randn(1, 2, *size)
        t = stn.Affine()
        found = stn.warp(
            image, t.identity()[None], t, align_corners=align_corners, backend="reference"
        )
        assert torch.equal(found, image)

    @pytest.mark.parametrize("align_corners", [False, True])
    def test_in_3d(self, align_corners):
        for size in [(1, 1, 1), (3, 5, 7), (60, 60, 60)]:
            image = torch.randn(1, 2, *size)
            t = stn.Affine(dims=3)
            theta = t.identity()[None]
            assert torch.equal(stn.warp(image, theta, t, align_corners=align_corners), image)


class TestNotFinite:
    """torch 2.13's own grid_sample backward ends the process on such values under border and
    reflection padding, so they are never handed to it here."""

    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 3e38])
    @pytest.mark.parametrize("padding", PADDINGS)
    @pytest.mark.parametrize("kernel", KERNELS)
    @pytest.mark.parametrize("dims", [2, 3])
    def test_reads_as_outside(self, dims, kernel, padding, bad):
        if bad == 3e38 and padding not in ("zeros", "fill"):
            pytest.skip("finite in float32: read by the padding's rule")
        image, grid = random_case((4, 5, 6)[-dims:], dtype=torch.float32)
        grid = grid.clamp(-0.9, 0.9)
        grid[0, ..., 0] = bad
        grid[1, 0, ..., -1] = bad
        image.requires_grad_()
        grid.requires_grad_()
        for backend in ("auto", "eager", "reference"):
            image.grad = grid.grad = None
            fill = [1.0, 2.0, 3.0] if padding != "zeros" else None
            out = stn.sample(
                image, grid, kernel=kernel, padding=padding, fill=fill, backend=backend
            )
            value = torch.tensor(fill or [0.0] * 3)
            assert torch.equal(out[0].flatten(1), value[:, None].expand(3, out[0, 0].numel()))
            assert torch.equal(out[1, :, 0].flatten(1)[:, 0], value)
            out.sum().backward()
            assert torch.equal(grid.grad[0], torch.zeros_like(grid[0]))
            # a finite one far outside is one of the oracle's dense sums, which are rounded
            rounding = 1e-14 if backend == "reference" and math.isfinite(bad) else 0
            assert grid.grad[1, 0].abs().max() <= rounding
            assert torch.equal(image.grad[0], torch.zeros_like(image[0]))
            assert torch.isfinite(image.grad).all()
            assert torch.isfinite(grid.grad).all()

    @pytest.mark.parametrize("padding", PADDINGS)
    def test_huge_finite_coordinates_stay_in_bounds(self, padding):
        image = torch.rand(1, 1, 5, 7)
        grid = torch.tensor([1e3, -1e5, 1e10, -1e20, 1e30, -1e37]).reshape(1, 1, -1, 1)
        grid = grid.expand(1, 1, 6, 2).clone().requires_grad_()
        out = stn.sample(image, grid, padding=padding, fill=fill_for(padding, 1))
        assert ((out >= 0) & (out <= 1)).all()
        out.sum().backward()
        assert torch.isfinite(grid.grad).all()

    def test_nan_pixels_stay_where_they_are(self):
        image = torch.zeros(1, 1, 4, 4)
        image[0, 0, 1, 1] = math.nan
        shifted = stn.warp(image, torch.tensor([[0.5, 0.0]]), "translation")
        assert shifted.isnan().sum() <= 4  # only those whose cell touches it
        assert not shifted[0, 0, 3].isnan().any()


class TestKnownOutcomes:
    """What older implementations are known to give."""

    @pytest.mark.parametrize(
        ("padding", "row"),
        [
            ("border", [0] * 8 + [1] * 8),
            ("mirror", [0.5, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0.5]),
            ("reflection", [0.5, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0.5]),
        ],
    )
    def test_four_times_as_wide(self, padding, row):
        image = torch.zeros(1, 1, 16, 16)
        image[..., 8:] = 1
        theta = torch.tensor([[4.0, 0, 0, 0, 1, 0]])
        warped = stn.warp(image, theta, "affine", padding=padding, align_corners=True)
        torch.testing.assert_close(warped[0, 0], torch.tensor(row).float().expand(16, 16))

    def test_arange_returns_itself(self):
        image = torch.arange(9.0).reshape(1, 1, 3, 3)
        for align_corners in (False, True):
            warped = stn.warp(
                image, stn.Affine().identity()[None], "affine", align_corners=align_corners
            )
            assert torch.equal(warped, image)


class TestProperties:
    @settings(max_examples=40, deadline=None)
    @given(
        h=st.integers(1, 9), w=st.integers(1, 9), k=st.integers(-2000, 2000),
        seed=st.integers(0, 99),
    )  # fmt: skip
    # theta is rounded as it is large: three widths off by more than three pixels' rounding error
    @example(h=1, w=7, k=-19, seed=0)
    def test_whole_pixel_translation_is_roll(self, h, w, k, seed):
        image = torch.randn(1, 2, h, w, generator=torch.Generator().manual_seed(seed))
        theta = torch.tensor([[2 * k / w, 0.0]])
        for kernel in KERNELS:
            warped = stn.warp(image, theta, "translation", padding="wrap", kernel=kernel)
            assert torch.equal(warped, image.roll(-k, 3))

    @pytest.mark.parametrize("backend", ["auto", "eager"])
    def test_far_off_the_nearest_pixel_is_the_nearest(self, backend):
        u = torch.tensor([2.0**19 + 0.4375, 2.0**20 + 0.375, 2.0**21 + 0.25, 2.0**21 + 2.25])
        grid = torch.zeros(1, 1, 4, 2)
        grid[0, 0, :, 0] = (u.double() - 3.5) / 4
        assert torch.equal(grid[0, 0, :, 0].double() * 4 + 3.5, u.double())
        image = torch.arange(8.0).view(1, 1, 1, 8)
        read = stn.sample(image, grid, kernel="nearest", padding="wrap", backend=backend)
        assert read.flatten().tolist() == [0, 0, 0, 2]

    @pytest.mark.parametrize("kernel", ["nearest", "bilinear", "bspline0", "bspline1"])
    @pytest.mark.parametrize("padding", ["wrap", "mirror", "reflection"])
    def test_far_off_is_the_same_whoever_computes_it(self, padding, kernel):
        """A coordinate of float32 is a number of float64: the oracle knows where it is."""
        image = torch.rand(1, 1, 1, 16)
        grid = torch.zeros(1, 1, 9000, 2)
        grid[..., 0] = 3e6 * (2 * torch.rand(9000) - 1)
        u = grid[..., 0].double() * 8 + 7.5
        # what float32 can tell in pixels, and is not so near to one that it is taken for it
        told = (u.float().double() == u) & (2 * u == (2 * u).round())
        grid = grid[:, :, told.flatten()]
        assert grid.shape[2] > 1000
        oracle = {"bspline0": "nearest", "bspline1": "bilinear"}.get(kernel, kernel)
        wanted = stn.sample(image.double(), grid.double(), kernel=oracle, padding=padding)
        for backend in ("auto", "eager"):
            read = stn.sample(image, grid, kernel=kernel, padding=padding, backend=backend)
            torch.testing.assert_close(read.double(), wanted, rtol=0, atol=1e-6)

    @settings(max_examples=40, deadline=None)
    @given(n=st.integers(1, 40), turns=st.integers(0, 3), seed=st.integers(0, 99))
    def test_quarter_turns_are_rot90(self, n, turns, seed):
        image = torch.randn(1, 1, n, n, generator=torch.Generator().manual_seed(seed))
        theta = torch.tensor([[turns * math.pi / 2, 1.0, 0.0, 0.0]])
        for align_corners in (False, True):
            for kernel in KERNELS:
                turned = stn.warp(
                    image, theta, "similarity", kernel=kernel, align_corners=align_corners
                )
                assert torch.equal(turned, torch.rot90(image, turns, (2, 3)))

    @settings(max_examples=30, deadline=None)
    @given(seed=st.integers(0, 999), padding=st.sampled_from(PADDINGS))
    def test_linear_in_the_image_and_batch_equals_loop(self, seed, padding):
        torch.manual_seed(seed)
        image, grid = random_case((5, 6))
        other = torch.randn_like(image)
        fill = 0.0 if padding == "fill" else None

        def f(x, g=grid):
            return stn.sample(x, g, padding=padding, fill=fill)

        torch.testing.assert_close(
            f(2 * image - 3 * other), 2 * f(image) - 3 * f(other), rtol=0, atol=1e-12
        )
        for b in range(2):
            assert torch.equal(f(image)[b : b + 1], f(image[b : b + 1], grid[b : b + 1]))

    @pytest.mark.parametrize("padding", PADDINGS[2:])
    def test_a_constant_image_stays_constant(self, padding):
        _, grid = random_case((5, 6))
        image = torch.full((2, 1, 5, 6), 0.7, dtype=torch.float64)
        out = stn.sample(image, grid, padding=padding)
        torch.testing.assert_close(out, torch.full_like(out, 0.7))


def test_an_infinite_coordinate_on_an_axis_of_one_pixel_without_a_warning():
    grid = torch.full((1, 1, 1, 2), torch.inf)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read = stn.sample(torch.ones(1, 1, 1, 4), grid, align_corners=True, backend="reference")
    assert read.item() == 0


class TestShapesAndTypes:
    def test_batches_broadcast(self):
        image, grid = random_case((4, 5))
        one = stn.sample(image[:1], grid)
        assert torch.equal(one, stn.sample(image[:1].repeat(2, 1, 1, 1), grid))
        one = stn.sample(image, grid[:1])
        assert torch.equal(one, stn.sample(image, grid[:1].repeat(2, 1, 1, 1)))

    def test_dtype_is_the_images_and_coordinates_are_wide(self):
        image, grid = random_case((8, 512), dtype=torch.float32)
        wide = stn.sample(image.half().float(), grid)
        half = stn.sample(image.half(), grid)
        assert half.dtype == torch.float16
        assert torch.equal(half, wide.half())
        assert stn.sample(image.double(), grid).dtype == torch.float64

    def test_channels_last_is_kept(self):
        image, grid = random_case((6, 7), dtype=torch.float32)
        last = stn.sample(image.contiguous(memory_format=torch.channels_last), grid)
        assert last.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(last, stn.sample(image, grid), rtol=0, atol=1e-6)

    def test_n_transforms_of_one_image(self):
        image = torch.rand(2, 3, 6, 6)
        theta = torch.randn(2, 4, 6)
        many = stn.warp(image, theta, "affine", (5, 7))
        assert many.shape == (2, 4, 3, 5, 7)
        for n in range(4):
            torch.testing.assert_close(
                many[:, n], stn.warp(image, theta[:, n], "affine", (5, 7)), rtol=0, atol=1e-6
            )

    @pytest.mark.parametrize("support", [0.7, 1.3, 2.2])
    def test_taps_beyond_a_callables_support_weigh_nothing(self, support):
        """Equation (3) by hand."""

        def gauss(d):
            return torch.exp(-(d**2))

        gauss.support = np.float32(support)
        pixels = torch.rand(12, dtype=torch.float64)
        at = torch.linspace(3, 8, 101, dtype=torch.float64) + 0.003
        grid = torch.stack([(2 * at + 1) / 12 - 1, torch.zeros_like(at)], -1)[None, None]
        found = stn.sample(pixels.repeat(1, 1, 12, 1), grid, kernel=gauss, padding="border")
        d = at[:, None] - torch.arange(12)
        wanted = (pixels * gauss(d) * (d.abs() < support)).sum(1)
        e = 5.5 - torch.arange(12)
        down = (gauss(e) * (e.abs() < support)).sum()
        torch.testing.assert_close(found.flatten(), wanted * down, rtol=0, atol=1e-7)

    def test_what_a_callable_gives_beyond_its_support_does_no_harm(self):
        def dome(d):
            return torch.sqrt(0.5 - d**2)

        dome.support = 0.7
        image, grid = random_case((5, 6))
        grid.requires_grad_()
        value = stn.sample(image, grid, kernel=dome)
        value.sum().backward()
        assert torch.isfinite(value).all()
        assert torch.isfinite(grid.grad).all()

    def test_a_callable_with_a_support_is_a_kernel(self):
        def hat(d):
            return (1 - d.abs()).clamp(min=0)

        hat.support = 1.0
        image, grid = random_case((5, 6))
        torch.testing.assert_close(
            stn.sample(image, grid, kernel=hat), stn.sample(image, grid), rtol=0, atol=1e-13
        )
