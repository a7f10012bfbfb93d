"""Antialiased warps against area averaging and supersampling; gradients to theta."""

import math

import pytest
import torch
import torch.nn.functional as F

import spatial_transformer as stn
from spatial_transformer.errors import DTypeError, OptionError
from spatial_transformer.transforms import Displacement, PiecewiseAffine


def plate(x, y):
    """The zone plate of the issue at normalised coordinates."""
    return torch.cos(math.pi * 512 / 2.2 * (x * x + y * y))


def zone_plate(n=512):
    u = (2 * torch.arange(n, dtype=torch.float64) + 1) / n - 1
    return plate(u[None, :], u[:, None])[None, None]


IDENTITY = stn.Affine().identity()[None].double()


def rms(a, b):
    return (a - b).square().mean().sqrt().item()


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_reduction_by_a_whole_number_is_area_averaging(factor):
    image = zone_plate()
    size = 512 // factor
    area = F.avg_pool2d(image, factor)
    ours = stn.warp(image, IDENTITY, "affine", (size, size), antialias=True)
    torch.testing.assert_close(ours, area, rtol=0, atol=1e-9)


def test_eightfold_reduction_errs_at_most_a_sixth_of_bilinear():
    image = zone_plate()
    area = F.avg_pool2d(image, 8)
    ours = stn.warp(image, IDENTITY, "affine", (64, 64), antialias=True)
    plain = stn.warp(image, IDENTITY, "affine", (64, 64))
    torchs = F.interpolate(image, (64, 64), mode="bilinear", antialias=True, align_corners=False)
    assert rms(ours, area) <= rms(plain, area) / 6
    assert rms(ours, area) <= rms(torchs, area)


def supersampled(image, theta, size, times=16):
    """The mean of times x times bilinear points in every output pixel's cell."""
    fine = stn.warp(image, theta, "affine", (size * times, size * times), padding="border")
    return F.avg_pool2d(fine, times)


@pytest.mark.parametrize(
    ("angle", "sx", "sy"), [(0.4, 1.0, 1.0), (0.0, 1.0, 0.3), (0.7, 0.9, 0.25), (1.2, 0.5, 0.5)]
)
def test_under_rotation_and_anisotropic_scale(angle, sx, sy):
    image = zone_plate()
    c, s = math.cos(angle), math.sin(angle)
    theta = torch.tensor([[c * sx, -s * sy, 0.05, s * sx, c * sy, -0.1]], dtype=torch.float64)
    wanted = supersampled(image, theta, 64)
    ours = stn.warp(image, theta, "affine", (64, 64), padding="border", antialias=True)
    plain = stn.warp(image, theta, "affine", (64, 64), padding="border")
    assert rms(ours, wanted) <= rms(plain, wanted) / 6


def test_equals_torchs_for_pure_reductions_of_smooth_images():
    image = F.interpolate(torch.rand(1, 2, 8, 8, dtype=torch.float64), (64, 64), mode="bicubic")
    theirs = F.interpolate(image, (16, 16), mode="bilinear", antialias=True)
    ours = stn.warp(image, IDENTITY, "affine", (16, 16), padding="border", antialias=True)
    plain = stn.warp(image, IDENTITY, "affine", (16, 16), padding="border")
    area = F.avg_pool2d(image, 4)
    # torch weighs by a triangle twice as wide: both lie within the blur of each other
    assert rms(ours, theirs) < 0.02
    assert rms(ours, area) < 1e-9 < rms(plain, area)


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_equals_torchs_on_ramps(factor):
    """Its triangle and our box both keep straight lines: there they agree to rounding."""
    u = torch.arange(64, dtype=torch.float64)
    image = (0.3 * u[None, :] - 0.7 * u[:, None] + 2)[None, None]
    size = (64 // factor, 64 // factor)
    theirs = F.interpolate(image, size, mode="bilinear", antialias=True)
    ours = stn.warp(image, IDENTITY, "affine", size, padding="border", antialias=True)
    inner = (..., slice(2, -2), slice(2, -2))
    torch.testing.assert_close(ours[inner], theirs[inner], rtol=0, atol=1e-11)


def test_nothing_is_done_where_nothing_is_reduced():
    image = torch.rand(1, 1, 16, 16)
    theta = torch.tensor([[0.6, 0.1, 0.0, -0.1, 0.7, 0.1]])
    ours = stn.warp(image, theta, "affine", (16, 16), antialias=True)
    assert torch.equal(ours, stn.sample(image, stn.Affine().grid(theta, (16, 16))))


def test_gradients_to_theta_and_image():
    image = torch.rand(1, 1, 12, 12, dtype=torch.float64, requires_grad=True)
    theta = torch.tensor([[0.91, 0.137, 0.0431, -0.1213, 0.883, 0.0717]], dtype=torch.float64)
    theta.requires_grad_()

    def warp(image, theta):
        return stn.warp(image, theta, "affine", (3, 3), antialias=True, padding="mirror")

    assert torch.autograd.gradcheck(warp, (image, theta), eps=1e-7, atol=1e-5)


def test_one_pixel_is_the_mean_of_all():
    image = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    ours = stn.warp(image, IDENTITY, "affine", (1, 1), antialias=True)
    torch.testing.assert_close(ours, image.mean((2, 3), keepdim=True))
    grid = stn.Affine().grid(IDENTITY, (1, 1)).expand(2, -1, -1, -1)
    torch.testing.assert_close(stn.sample(image, grid, antialias=True), ours)


def test_3d_n_transforms_and_a_given_number():
    image = torch.rand(1, 1, 8, 8, 8)
    theta = stn.Affine(3).identity()[None]
    ours = stn.warp(image, theta, stn.Affine(3), (4, 4, 4), antialias=True)
    torch.testing.assert_close(ours, F.avg_pool3d(image, 2))
    image = torch.rand(2, 1, 16, 16)
    theta = torch.randn(2, 3, 6)
    many = stn.warp(image, theta, "affine", (5, 4), antialias=4)
    for n in range(3):
        one = stn.warp(image, theta[:, n], "affine", (5, 4), antialias=4)
        torch.testing.assert_close(many[:, n], one)


def test_bad_input_is_named():
    image, grid = torch.zeros(1, 1, 4, 4), torch.zeros(1, 2, 2, 2)
    with pytest.raises(OptionError, match="number of points from 1 to 16, got 17"):
        stn.sample(image, grid, antialias=17)
    with pytest.raises(DTypeError, match=r"antialias averages.*uint8"):
        stn.sample(image.byte(), grid, kernel="nearest", antialias=True)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_sums_in_float32(dtype):
    image = torch.full((1, 1, 64, 64), 1000.0, dtype=dtype)
    small = stn.warp(image, IDENTITY.float(), "affine", 4, antialias=True)
    assert small.dtype == dtype
    assert torch.equal(small, image[..., :4, :4])
    image = torch.rand(1, 1, 64, 64).to(dtype)
    small = stn.warp(image, IDENTITY.float(), "affine", 4, antialias=True)
    assert torch.equal(small, F.avg_pool2d(image.double(), 16).to(dtype))


def test_an_image_is_warped_as_it_would_be_alone():
    image = torch.rand(3, 2, 32, 32, dtype=torch.float64)
    theta = torch.stack([IDENTITY[0], 4 * IDENTITY[0], torch.tensor([2.0, 0, 0, 0.5, 1, 0])])
    fill = torch.rand(3, 2, dtype=torch.float64)
    options = {"antialias": True, "padding": "fill"}
    together = stn.warp(image, theta, "affine", fill=fill, **options)
    assert torch.equal(together[0], image[0])  # the identity, whatever the others are
    many = stn.warp(image[:1], theta[None], "affine", fill=fill[:1], **options)
    for k in range(3):
        alone = stn.warp(
            image[k : k + 1], theta[k : k + 1], "affine", fill=fill[k : k + 1], **options
        )
        assert torch.equal(together[k : k + 1], alone)
        same = stn.warp(image[:1], theta[k : k + 1], "affine", fill=fill[:1], **options)
        assert torch.equal(many[:, k], same)
    shared = stn.warp(image[:1], theta, "affine", fill=fill[:1], **options)
    assert torch.equal(shared, many[0])


def test_pixels_beside_one_that_is_not_finite_are_read():
    image = torch.ones(1, 1, 16, 16)
    t = Displacement((16, 16))
    theta = torch.zeros(1, t.num_params)
    theta[0, 2 * (16 * 5 + 7)] = math.nan
    theta.requires_grad_()
    warped = stn.warp(image, theta, t, antialias=True)
    assert warped.sum() == 16 * 16 - 1
    warped.sum().backward()
    assert torch.isfinite(theta.grad).all()
    corners = torch.tensor([[-0.5, -0.5], [0.5, -0.5], [-0.5, 0.5], [0.5, 0.5]])
    t = PiecewiseAffine(points=corners, triangles=torch.tensor([[0, 1, 2], [3, 2, 1]]))
    small = [stn.warp(image, (1.5 * t.identity())[None], t, 8, antialias=a) for a in (False, True)]
    torch.testing.assert_close(small[1], small[0])
    assert small[0].sum() == 16
