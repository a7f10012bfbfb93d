"""How exact the Triton backend is, in every type of numbers."""

import pytest
import torch
import torch.nn.functional as F
from tests.ops.triton_cases import (
    DEVICE,
    eager,
    forward,
    gradients,
    launch,
    matrices,
    random,
)

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("interpreted")]


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("shape", [(2, 2, (14, 13), (15, 16)), (1, 3, (5, 123), (6, 40))], ids=str)
def test_float32_errs_at_most_twice_as_much_as_torch(shape, padding):
    batch, channels, size, out = shape
    image = random(batch, channels, *size, dtype=torch.float32).requires_grad_()
    matrix = matrices(batch, 2, dtype=torch.float32).requires_grad_()
    options = ("bilinear", padding, None, False)
    weight = torch.randn(batch, channels, *out).to(DEVICE)
    exact = eager(image.double(), matrix.double(), out, *options, grid=False)
    exact = (exact, *gradients(exact, weight.double(), image, matrix))
    grid = F.affine_grid(matrix, [batch, 1, *out], align_corners=False)
    torchs = F.grid_sample(image, grid, padding_mode=padding, align_corners=False)
    torchs = (torchs, *gradients(torchs, weight, image, matrix))
    image, matrix = image.detach(), matrix.detach()
    more = {"grid": False, "needs_image_grad": True, "needs_map_grad": True}
    ours = (
        forward(launch, image, matrix, out, *options, grid=False),
        *launch.backward(weight, image, matrix, *options, **more),
    )
    for a, t, e in zip(ours, torchs, exact, strict=True):
        error, allowed = ((x - e).abs().max().item() for x in (a, t))
        assert error <= 2 * allowed + 2e-7 * e.abs().max().item()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types_err_at_most_twice_as_much_as_torch(dtype):
    image = random(2, 3, 9, 8, dtype=dtype)
    maps, weight = matrices(2, 2, dtype=torch.float32), torch.randn(2, 3, 7, 7).to(DEVICE, dtype)
    options = ("bilinear", "reflection", None, False)
    wide = image.double().requires_grad_()
    exact = eager(wide, maps.double(), (7, 7), *options, grid=False)
    (exact_grad,) = gradients(exact, weight.double(), wide)
    leaf = image.float().requires_grad_()
    # torch has no half types on CPU: float32, rounded, is better than what it has on a GPU
    grid = F.affine_grid(maps, [2, 3, 7, 7], align_corners=False)
    torchs = F.grid_sample(leaf, grid, padding_mode="reflection", align_corners=False)
    (torch_grad,) = gradients(torchs, weight.float(), leaf)
    out = forward(launch, image, maps, (7, 7), *options, grid=False)
    more = {"grid": False, "needs_image_grad": True, "needs_map_grad": True}
    to_image, to_maps = launch.backward(weight, image, maps, *options, **more)
    assert (out.dtype, to_image.dtype, to_maps.dtype) == (dtype, dtype, torch.float32)
    for a, t, e in ((out, torchs, exact), (to_image, torch_grad, exact_grad)):
        error, allowed = ((x.double() - e).abs().max().item() for x in (a, t.to(dtype)))
        # the interpreter cuts bfloat16 off, where a GPU rounds
        assert error <= (3 if DEVICE == "cpu" else 2) * allowed + 1e-7
