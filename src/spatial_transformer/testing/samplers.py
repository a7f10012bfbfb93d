"""Properties that every interpolation kernel must have, under every padding."""

from typing import Any

import torch
from torch import Tensor

from spatial_transformer.coordinates import base_grid
from spatial_transformer.functional import sample
from spatial_transformer.samplers import as_kernel
from spatial_transformer.samplers.kernel import Kernel
from spatial_transformer.samplers.padding import CONSTANT, PADDINGS
from spatial_transformer.testing.close import assert_close, assert_gradients


def _case(dims: int, spread: float = 0.8) -> tuple[Tensor, Tensor]:
    source = torch.Generator().manual_seed(0)
    size, out = (5, 6, 7)[-dims:], (2, 3, 4)[-dims:]
    image = torch.rand(2, 2, *size, generator=source, dtype=torch.float64)
    noise = torch.rand(2, *out, dims, generator=source, dtype=torch.float64)
    return image, spread * (2 * noise - 1)


def _options(kernel: Any, padding: str) -> dict[str, Any]:
    fill = [0.25, -0.5] if padding == "fill" else None
    return {"kernel": kernel, "padding": padding, "fill": fill, "backend": "auto"}


def check_interpolation(kernel: Any, padding: str, dims: int = 2) -> bool:
    """At whole pixels the value is the pixel's; False for a kernel that smooths."""
    k: Kernel = as_kernel(kernel)
    zero = torch.zeros(1, dtype=torch.float64)
    at_zero = [w.item() for w in k.weights(zero)]
    smooths = not getattr(k, "prefilters", False) and any(
        abs(w - (j == 0)) > 1e-12 for j, w in zip(k.offsets, at_zero, strict=True)
    )
    image, _ = _case(dims)
    grid = base_grid(image.shape[2:], dtype=torch.float64)[None]
    if smooths:
        return False
    assert_close(
        sample(image, grid, **_options(kernel, padding)), image, "pixels are not met", 1e-8
    )
    return True


def check_constant(kernel: Any, padding: str, dims: int = 2) -> None:
    """A constant image stays constant (inside, where zeros or a fill value lie around it)."""
    image, grid = _case(dims, 3.0 if padding not in CONSTANT else 0.2)
    if padding in CONSTANT and as_kernel(kernel).support > 2:
        return  # in so small an image a wide kernel reads outside everywhere
    flat = torch.full_like(image, 0.7)
    output = sample(flat, grid, **_options(kernel, padding))
    if getattr(as_kernel(kernel), "prefilters", False) and padding in CONSTANT:
        return  # a prefilter spreads the edge of the image over all of it
    assert_close(output, torch.full_like(output, 0.7), "a constant image does not stay constant")


def check_linear(kernel: Any, padding: str, dims: int = 2) -> None:
    """Sampling is linear in the image (with the fill value zero)."""
    image, grid = _case(dims)
    options = {**_options(kernel, padding), "fill": 0.0 if padding == "fill" else None}
    other = image.flip(2)
    together = sample(2 * image - 3 * other, grid, **options)
    apart = 2 * sample(image, grid, **options) - 3 * sample(other, grid, **options)
    assert_close(together, apart, "not linear in the image")


def check_batch(kernel: Any, padding: str, dims: int = 2) -> None:
    """A batch gives the same as its members one by one; one image is shared by many grids."""
    image, grid = _case(dims, 1.5)
    options = _options(kernel, padding)
    batched = sample(image, grid, **options)
    for b in range(2):
        alone = sample(image[b : b + 1], grid[b : b + 1], **options)
        assert_close(batched[b : b + 1], alone, "batch differs from loop", 1e-12)
    shared = sample(image[:1], grid, **options)
    copied = sample(image[:1].expand_as(image).clone(), grid, **options)
    assert_close(shared, copied, "a shared image differs from its copies", 1e-12)


def check_gradient(kernel: Any, padding: str, dims: int = 2) -> None:
    """First and second derivatives to image and grid against finite differences, float64."""
    image, grid = _case(dims, 0.7)
    # away from whole and half pixels, where kernels have corners
    for k in range(dims):
        n = image.shape[-1 - k]
        u = grid[..., k] * n / 2 + (n - 1) / 2
        near = (2 * u).round() / 2
        u = torch.where((u - near).abs() < 0.05, near + 0.1, u)
        grid[..., k] = (u - (n - 1) / 2) * 2 / n
    image.requires_grad_()
    grid.requires_grad_()

    def function(a: Tensor, b: Tensor) -> Tensor:
        return sample(a, b, **_options(kernel, padding))

    assert_gradients(function, image, grid)


def check_not_finite(kernel: Any, padding: str, dims: int = 2) -> None:
    """A NaN or infinite coordinate reads the fill value and passes no gradient."""
    image, grid = _case(dims)
    for bad in (torch.nan, torch.inf, -torch.inf):
        broken = grid.clone()
        broken[0, ..., 0] = bad
        broken.requires_grad_()
        source = image.clone().requires_grad_()
        out = sample(source, broken, **_options(kernel, padding))
        fill = torch.tensor([0.25, -0.5] if padding == "fill" else [0.0, 0.0], dtype=out.dtype)
        wanted = fill.reshape(-1, *(1,) * dims).expand_as(out[0])
        assert torch.equal(out[0].detach(), wanted), f"{bad} does not read the fill value"
        out.sum().backward()
        assert broken.grad is not None
        assert source.grad is not None
        assert torch.equal(broken.grad[0], torch.zeros_like(grid[0])), f"{bad} passes a gradient"
        assert torch.isfinite(source.grad).all(), f"{bad} puts NaN into the image's gradient"


#: property -> its check: the columns of the conformance table
CHECKS = {
    "interpolates": check_interpolation,
    "constant": check_constant,
    "linear": check_linear,
    "batch": check_batch,
    "gradient": check_gradient,
    "not finite": check_not_finite,
}


def check_sampler(kernel: Any, dims: int = 2) -> dict[str, dict[str, bool]]:
    """Run all checks of a kernel under every padding, for a test of your own.

    Args:
        kernel: As for ``sample``: a name, a ``Kernel``, a callable with ``support``.
        dims: 2 for images, 3 for volumes.

    Returns:
        Padding -> property -> whether the kernel has it (only ``interpolates`` may be False).

    Raises:
        AssertionError: If a property does not hold; the message says which.

    Examples:
        >>> check_sampler("bilinear")["border"]["interpolates"]
        True
    """
    return {
        padding: {name: check(kernel, padding, dims) is not False for name, check in CHECKS.items()}
        for padding in PADDINGS
    }
