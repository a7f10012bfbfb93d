"""How exact the C++ backend is, in every type of numbers."""

import pytest
import torch
import torch.nn.functional as F
from tests.ops.cpu_cases import LARGE, SHAPES, case, family_of, results

import spatial_transformer as stn
from spatial_transformer.ops.cpu import load

pytestmark = pytest.mark.skipif(load.LIBRARY is None, reason=f"no C++ backend: {load.WHY}")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("channels", [2, 11])
def test_half_precision_is_stored_only(dtype, channels):
    """Computed in float32 and rounded once, to nearest even: to the last bit."""
    image, theta, _ = case((2, channels, (9, 31), (9, 31)))
    half = image.to(dtype)
    ours, to_image, to_theta = results(half, theta, (12, 20), "cpu")
    wide = stn.warp(half.float(), theta, "affine", (12, 20), backend="cpu")
    assert torch.equal(ours, wide.to(dtype))
    weight = torch.linspace(-1, 1, ours.numel(), dtype=dtype).reshape(ours.shape).float()
    for kept, t in ((to_image, half.float()), (to_theta, theta)):
        leaf = t.clone().requires_grad_()
        pair = (leaf, theta) if kept is to_image else (half.float(), leaf)
        wide = stn.warp(*pair, "affine", (12, 20), backend="cpu")
        (wanted,) = torch.autograd.grad((wide * weight).sum(), leaf)
        assert torch.equal(kept, wanted.to(kept.dtype))


def test_every_half_precision_number_survives():
    """The conversions by bits against torch's, for all 65,536 patterns."""
    bits = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16)
    for dtype in (torch.float16, torch.bfloat16):
        image = bits.view(dtype).reshape(1, 1, 256, 256)
        theta = stn.Affine().identity()[None]
        found = stn.warp(image, theta, "affine", kernel="nearest", backend="cpu")
        same = (found == image) | (found.isnan() & image.isnan())
        assert same.all()
    wide = torch.rand(1, 1, 300, 301) * torch.logspace(-9, 4, 301)
    for dtype in (torch.float16, torch.bfloat16):
        # an average of two neighbours is rounded as torch rounds it
        half = wide.to(dtype)
        shift = torch.tensor([[1.0, 0, 1 / 301, 0, 1, 0]])
        found = stn.warp(half, shift, "affine", backend="cpu")
        exact = stn.warp(half.float(), shift, "affine", backend="cpu").to(dtype)
        assert torch.equal(found, exact)


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("shape", SHAPES[1:] + LARGE, ids=str)
def test_float32_errs_at_most_twice_as_much_as_torch(shape, padding):
    """The output and the gradient to the image, of noise, against float64."""
    image, theta, out = case(shape, spread=0.2)
    dims, family = len(out), family_of(shape)

    def ours(image, theta):
        return stn.warp(image, theta, family, out, padding=padding, backend="cpu")

    def torchs(image, theta):
        size = (shape[0], 1, *out)
        grid = F.affine_grid(theta.unflatten(1, (dims, dims + 1)), size, align_corners=False)
        return F.grid_sample(image, grid, padding_mode=padding, align_corners=False)

    def both(warp, dtype):
        leaf = image.to(dtype).requires_grad_()
        warped = warp(leaf, theta.to(dtype))
        weight = torch.linspace(-1, 1, warped.numel(), dtype=dtype).reshape(warped.shape)
        return warped.detach(), torch.autograd.grad((warped * weight).sum(), leaf)[0]

    exact = both(torchs, torch.float64)
    for found, allowed, truth in zip(
        both(ours, torch.float32), both(torchs, torch.float32), exact, strict=True
    ):
        error, limit = ((x - truth).abs().max().item() for x in (found, allowed))
        assert error <= 2 * limit + 2e-7 * truth.abs().max().item()


def test_other_layouts_and_dtypes():
    image, theta, out = case(SHAPES[3])
    wanted = stn.warp(image, theta, "affine", out, backend="cpu")
    strided = image.transpose(2, 3).contiguous().transpose(2, 3)
    assert torch.equal(stn.warp(strided, theta, "affine", out, backend="cpu"), wanted)
    for dtype in (torch.float16, torch.bfloat16):
        half = image.to(dtype)
        found = stn.warp(half, theta, "affine", out, backend="cpu")
        assert found.dtype == dtype
        wide = stn.warp(half.float(), theta, "affine", out, backend="cpu")
        assert torch.equal(found, wide.to(dtype))
