"""The wider kernels against SciPy, OpenCV and torch; their order of convergence; callables."""

import math

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage
from scipy.interpolate import BSpline as ScipyBSpline

import spatial_transformer as stn
from spatial_transformer.errors import OptionError
from spatial_transformer.samplers import as_kernel
from spatial_transformer.samplers.bicubic import Bicubic
from spatial_transformer.samplers.bspline import BSpline
from spatial_transformer.samplers.lanczos import Lanczos

SCIPY_MODES = {
    "zeros": "grid-constant",
    "fill": "grid-constant",
    "border": "nearest",
    "reflection": "mirror",
    "mirror": "mirror",
    "wrap": "grid-wrap",
}


@pytest.mark.parametrize("prefilter", [True, False])
@pytest.mark.parametrize("padding", SCIPY_MODES)
@pytest.mark.parametrize("order", range(6))
@pytest.mark.parametrize("shape", [(9, 11), (1, 5), (2, 2), (3, 4, 5)], ids=str)
def test_bsplines_equal_scipys(shape, order, padding, prefilter):
    dims = len(shape)
    image = torch.rand(1, 1, *shape, dtype=torch.float64)
    grid = 1.3 * torch.randn(1, *(2, 3, 4)[-dims:], dims, dtype=torch.float64)
    fill = 0.3 if padding == "fill" else None
    found = stn.sample(
        image, grid, kernel=BSpline(order, prefilter), padding=padding, fill=fill,
        align_corners=True,
    )  # fmt: skip
    u = [(grid[0, ..., k] + 1) / 2 * (shape[-1 - k] - 1) for k in reversed(range(dims))]
    wanted = ndimage.map_coordinates(
        image[0, 0].numpy(), torch.stack(u).numpy(), order=order, mode=SCIPY_MODES[padding],
        cval=fill or 0.0, prefilter=prefilter,
    )  # fmt: skip
    np.testing.assert_allclose(found[0, 0].numpy(), wanted, rtol=0, atol=1e-11)


def test_reflection_is_scipys_reflect_when_edges_are_the_frame():
    """On an image large enough: SciPy's filter for this mode misses the pixels of small ones, by
    2e-5 at 6x7 and order 5."""
    image = torch.rand(1, 1, 60, 70, dtype=torch.float64)
    u = torch.rand(2, 30, 40, dtype=torch.float64) * 200 - 70
    grid = torch.stack([(2 * u[1] + 1) / 70 - 1, (2 * u[0] + 1) / 60 - 1], -1)[None]
    for order in range(6):
        found = stn.sample(image, grid, kernel=BSpline(order), padding="reflection")
        wanted = ndimage.map_coordinates(
            image[0, 0].numpy(), u.numpy(), order=order, mode="reflect"
        )
        np.testing.assert_allclose(found[0, 0].numpy(), wanted, rtol=0, atol=1e-11)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("shape", [(1, 1), (5, 123), (6, 7)], ids=str)
def test_bicubic_equals_torchs(shape, padding, align_corners):
    image = torch.rand(2, 3, *shape, dtype=torch.float64)
    grid = 1.3 * torch.randn(2, 4, 5, 2, dtype=torch.float64)
    options = {"align_corners": align_corners}
    found = stn.sample(image, grid, kernel="bicubic", padding=padding, **options)
    wanted = F.grid_sample(image, grid, mode="bicubic", padding_mode=padding, **options)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("order", range(1, 6))
def test_bspline_kernels_equal_scipys_basis(order):
    d = np.linspace(-3.4, 3.4, 341)
    knots = np.arange(order + 2) - (order + 1) / 2
    wanted = np.nan_to_num(ScipyBSpline.basis_element(knots, extrapolate=False)(d))
    found = BSpline(order)(torch.from_numpy(d)).numpy()
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-14)


def test_bicubic_and_lanczos_are_their_formulas():
    d = torch.linspace(-3.5, 3.5, 701, dtype=torch.float64)
    x = d.abs()
    for a in (-0.75, -0.5):
        keys = torch.where(
            x < 1,
            (a + 2) * x**3 - (a + 3) * x**2 + 1,
            torch.where(x < 2, a * (x**3 - 5 * x**2 + 8 * x - 4), torch.zeros_like(x)),
        )
        torch.testing.assert_close(Bicubic(a)(d), keys, rtol=0, atol=1e-14)
    t = torch.rand(50, dtype=torch.float64)
    for a in (2, 3):
        k = Lanczos(a)
        raw = torch.stack([torch.sinc(t - j) * torch.sinc((t - j) / a) for j in k.offsets])
        torch.testing.assert_close(torch.stack(k.weights(t)), raw / raw.sum(0), rtol=0, atol=1e-14)


@pytest.mark.parametrize("kernel", [k for k in stn.list_samplers() if not k[-1].isdigit()])
def test_the_identity_is_exact(kernel):
    image = torch.randn(1, 1, 37, 101)
    theta = stn.Affine().identity()[None]
    for padding in ("zeros", "border", "wrap"):
        assert torch.equal(stn.warp(image, theta, "affine", kernel=kernel, padding=padding), image)


@pytest.mark.parametrize("order", [2, 3, 4, 5])
def test_prefiltered_splines_meet_the_pixels_to_rounding(order):
    image = torch.rand(1, 1, 37, 101)
    theta = stn.Affine().identity()[None]
    for padding in ("border", "mirror", "wrap"):
        met = stn.warp(image, theta, "affine", kernel=f"bspline{order}", padding=padding)
        torch.testing.assert_close(met, image, rtol=0, atol=5e-6)


def measured_order(kernel):
    """log2 of how much the error shrinks when a wave is sampled twice as finely."""
    errors = []
    for n in (32, 64, 128):
        x = 2 * math.pi * (torch.arange(n, dtype=torch.float64) + 0.5) / n
        image = torch.sin(x).expand(1, 1, 1, n).contiguous()
        where = torch.linspace(-0.9, 0.9, 997, dtype=torch.float64)
        grid = torch.stack([where, torch.zeros_like(where)], -1)[None, None]
        found = stn.sample(image, grid, kernel=kernel, padding="wrap")
        exact = torch.sin(math.pi * (where + 1))
        errors.append((found[0, 0, 0] - exact).abs().max().item())
    return math.log2(errors[1] / errors[2])


@pytest.mark.parametrize(
    "kernel",
    [*(k for k in stn.list_samplers()), Bicubic(a=-0.5), BSpline(2, False), BSpline(3, False)],
    ids=str,
)
def test_measured_order_of_convergence_is_the_declared_one(kernel):
    assert measured_order(kernel) == pytest.approx(as_kernel(kernel).order, abs=0.25)


@pytest.mark.parametrize(
    ("kernel", "flag", "tolerance"),
    [("nearest", cv2.INTER_NEAREST, None), ("bilinear", cv2.INTER_LINEAR, 0.035),
     ("bicubic", cv2.INTER_CUBIC, 0.05)],
)  # fmt: skip
def test_warps_agree_with_opencv(kernel, flag, tolerance):
    """OpenCV rounds coordinates to a fraction of a pixel: agreement is to its rounding."""
    source = ndimage.gaussian_filter(np.random.default_rng(0).random((40, 50)), 1.5)
    source = ((source - source.min()) / np.ptp(source)).astype(np.float32)
    image = torch.from_numpy(source)[None, None]
    matrix = np.array([[0.8, -0.2, 6.3], [0.15, 0.9, -2.2]])  # output pixel -> input pixel
    v, u = np.meshgrid(np.arange(30.0), np.arange(45.0), indexing="ij")
    pixels = np.stack([matrix[0, 0] * u + matrix[0, 1] * v + matrix[0, 2],
                       matrix[1, 0] * u + matrix[1, 1] * v + matrix[1, 2]], -1)  # fmt: skip
    from spatial_transformer.coordinates import grid_from_pixels

    grid = grid_from_pixels(torch.from_numpy(pixels)[None], (40, 50))
    found = stn.sample(image, grid, kernel=kernel)[0, 0].numpy()
    how = flag | cv2.WARP_INVERSE_MAP
    affine = cv2.warpAffine(source, matrix, (45, 30), flags=how)
    remap = cv2.remap(source, *pixels.astype(np.float32).transpose(2, 0, 1), flag)
    square = np.vstack([matrix, [0, 0, 1]])
    perspective = cv2.warpPerspective(source, square, (45, 30), flags=how)
    for theirs in (affine, remap, perspective):
        off = np.abs(found - theirs)
        if tolerance is None:  # half-way between two pixels it may go either way
            half = np.abs(pixels % 1 - 0.5).min(-1) < 1e-6
            assert 0 < half.mean() < 0.3
            assert off[~half].max() == 0
        else:
            assert off.max() < tolerance
            assert off.mean() < tolerance / 10


class TestIntegers:
    @pytest.mark.parametrize(
        "dtype", [torch.uint8, torch.int16, torch.int32, torch.int64, torch.bool]
    )
    def test_nearest_copies_them_as_they_are(self, dtype):
        image = torch.randint(0, 2 if dtype == torch.bool else 120, (2, 3, 5, 6)).to(dtype)
        grid = torch.randn(2, 4, 4, 2)
        found = stn.sample(image, grid, kernel="nearest", padding="border")
        assert found.dtype == dtype
        wide = stn.sample(image.double(), grid, kernel="nearest", padding="border")
        assert torch.equal(found, wide.to(dtype))
        filled = stn.sample(image, grid * 9, kernel="nearest", padding="fill", fill=1)
        assert filled.dtype == dtype

    def test_large_integers_survive(self):
        image = torch.tensor([[[[2**40 + 1, 2**52 - 1]]]])
        theta = stn.Affine().identity()[None]
        assert torch.equal(stn.warp(image, theta, "affine", kernel="nearest"), image)


def test_bad_kernels_are_named():
    with pytest.raises(OptionError, match="order must be 0 to 5, got 6"):
        BSpline(6)
    with pytest.raises(OptionError, match="lobes a >= 2, got 1"):
        Lanczos(1)
    with pytest.raises(OptionError, match="support must be a positive number"):
        stn.make_sampler("bilinear") and stn.sample(
            torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 1, 2), kernel=_bad
        )


def _bad(d):
    return d


_bad.support = -1
