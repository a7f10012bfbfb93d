"""The reference: equations (3) to (7) of the paper written out literally, in float64.

It shares no code with any sampler: the image is extended with ``numpy.pad``, every output pixel
sums over *every* input pixel, and the gradients are those of equations (6) and (7), not autograd's.
Memory is O(output pixels x input size): for tests and small images.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spatial_transformer.coordinates import coordinate_dtype
from spatial_transformer.errors import BackendError

# k(x - m) and dk/dx, for x of shape (..., 1) and m of shape (M,)
Literal = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _delta(x: np.ndarray, m: np.ndarray) -> np.ndarray:
    """Equation (4)."""
    return (np.floor(x + 0.5) == m).astype(np.float64)


def _hat(x: np.ndarray, m: np.ndarray) -> np.ndarray:
    """Equation (5)."""
    return np.maximum(0.0, 1.0 - np.abs(x - m))


def _hat_slope(x: np.ndarray, m: np.ndarray) -> np.ndarray:
    """Equation (7), with the right-hand derivative at whole pixels.

    For m = x it is -1; m = x + 1 counts (as +1) and m = x - 1 does not.
    """
    return np.where((m > x) & (m <= x + 1), 1.0, np.where((m <= x) & (m > x - 1), -1.0, 0.0))


def _flat(x: np.ndarray, m: np.ndarray) -> np.ndarray:
    return np.zeros(np.broadcast(x, m).shape)


#: kernel name -> (k, dk/dx, support)
KERNELS: dict[str, tuple[Literal, Literal, int]] = {
    "nearest": (_delta, _flat, 1),
    "bilinear": (_hat, _hat_slope, 1),
}
_PAD_MODES = {
    "zeros": "constant",
    "fill": "constant",
    "border": "edge",
    "reflection": "symmetric",
    "mirror": "reflect",
    "wrap": "wrap",
}


def _bring_near(x: np.ndarray, n: int, mode: str, reach: int) -> np.ndarray:
    """Map coordinates far from the image to equivalent ones near it, so that padding is finite."""
    if mode in ("constant", "edge"):
        return np.clip(x, -reach - 1.0, n + reach)
    period = {"symmetric": 2 * n, "reflect": max(2 * n - 2, 1), "wrap": n}[mode]
    return np.mod(x, period)


def _extend(image: np.ndarray, widths: list[tuple[int, int]], mode: Any, fill: Any) -> np.ndarray:
    more: dict[str, Any] = {"constant_values": fill} if mode == "constant" else {}
    return np.pad(image, widths, mode=mode, **more)


class _Reference(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        image: Tensor,
        grid: Tensor,
        kernel: str,
        padding: str,
        fill: Tensor,
        align_corners: bool,
    ) -> Tensor:
        k, slope, support = KERNELS[kernel]
        mode = _PAD_MODES[padding]
        if padding == "reflection" and align_corners:
            mode = "reflect"
        integers = (
            not image.is_floating_point()
        )  # then pixel indices are summed, with one weight of 1
        pixels = math.prod(image.shape[2:])
        values = torch.arange(pixels).expand((*image.shape[:2], pixels)) if integers else image
        u = values.detach().cpu().double().reshape(image.shape).numpy()
        points = grid.detach().cpu().double().flatten(1, -2).numpy()
        batch = max(len(u), len(points))
        u = np.broadcast_to(u, (batch, *u.shape[1:]))
        points = np.broadcast_to(points, (batch, *points.shape[1:]))
        spatial = u.shape[2:]
        dims = len(spatial)
        level = torch.full_like(fill, -1, dtype=torch.float64) if integers else fill
        outside = np.broadcast_to(
            level.detach().cpu().double().numpy()[..., 0], (batch, u.shape[1])
        )

        # section 3.2: normalised -> pixel coordinates, in the order of the image's axes
        rounding = torch.finfo(coordinate_dtype(grid)).eps
        single = grid.dtype != torch.float64
        x = np.empty_like(points)
        for axis, n in enumerate(spatial):
            g = points[..., dims - 1 - axis]
            with np.errstate(invalid="ignore"):  # infinity times zero
                x[..., axis] = (g + 1) / 2 * (n - 1) if align_corners else ((g + 1) * n - 1) / 2
                if kernel == "nearest" and n > align_corners:
                    # the value nearest to a middle between pixels means that middle
                    middle = np.floor(x[..., axis]) + 0.5
                    number = (2 * middle + 1 - n) / (n - align_corners)
                    number = number.astype(np.float32) if single else number
                    x[..., axis] = np.where(
                        (number == g) & (np.abs(middle) < 2**21), middle, x[..., axis]
                    )
        known = np.isfinite(x).all(-1)
        x[~known] = 0.0

        # the image extended to all the pixels that a kernel reads
        low, high = [], []
        for axis, n in enumerate(spatial):
            near = _bring_near(x[..., axis], n, mode, support + 1)
            # snap to whole pixels: the grid's rounding cannot tell them from their neighbours
            nearest = np.round(near)
            within = np.minimum(rounding * np.maximum(np.abs(x[..., axis]), n), 0.25)
            x[..., axis] = np.where(np.abs(near - nearest) <= within, nearest, near)
            low.append(max(0, int(np.ceil(-x[..., axis].min())) + support + 1))
            high.append(max(0, int(np.ceil(x[..., axis].max())) + support + 2 - n))
        widths = list(zip(low, high, strict=True))
        extended = np.stack(
            [
                np.stack([_extend(u[b, c], widths, mode, outside[b, c]) for c in range(u.shape[1])])
                for b in range(batch)
            ]
        )
        index = _extend(np.arange(u[0, 0].size).reshape(spatial), widths, mode, -1)

        weight, slopes = [], []
        for axis, n in enumerate(spatial):
            m = np.arange(-low[axis], n + high[axis])
            weight.append(k(x[..., axis, None], m))
            half = (n - 1) / 2 if align_corners else n / 2
            slopes.append(slope(x[..., axis, None], m) * half)
        weight[0] = weight[0] * known[..., None]
        value = _contract(extended, weight) + outside[..., None] * ~known[:, None]

        ctx.saved = (extended, index, weight, slopes, known, image.shape, grid.shape)
        ctx.like = (image, grid)
        shape = (batch, u.shape[1], *grid.shape[1:-1])
        if integers:
            flat = image.cpu().flatten(2).expand(batch, -1, -1).numpy()
            read = np.take_along_axis(flat, value.astype(np.int64).clip(0), axis=2)
            read = np.where(value < 0, fill.cpu().numpy(), read)
            return torch.from_numpy(read.reshape(shape)).to(image.device)
        return torch.from_numpy(value.reshape(shape)).to(image.device, image.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        extended, index, weight, slopes, known, image_shape, grid_shape = ctx.saved
        image, grid = ctx.like
        g = grads[0].detach().cpu().double().flatten(2).numpy()
        dims = len(weight)
        grad_image = grad_grid = None
        if ctx.needs_input_grad[0]:
            # equation (6): dV_i/dU_nm = k(x_i - m) k(y_i - n), summed over a pixel's copies
            spread = _spread(g, weight)
            batch, channels = spread.shape[:2]
            total = np.zeros((batch, channels, int(np.prod(image_shape[2:])) + 1))
            flat = np.broadcast_to(index.reshape(1, 1, -1), (batch, channels, index.size))
            for b in range(batch):
                for c in range(channels):
                    np.add.at(total[b, c], flat[b, c], spread[b, c].reshape(-1))
            total = total[..., :-1].reshape(batch, channels, *image_shape[2:])
            grad_image = torch.from_numpy(total).to(image.device, image.dtype)
            grad_image = grad_image.sum_to_size(image_shape)
        if ctx.needs_input_grad[1]:
            # equation (7), one axis after the other
            parts = []
            for axis in reversed(range(dims)):
                mixed = list(weight)
                mixed[axis] = slopes[axis]
                parts.append((g * _contract(extended, mixed)).sum(1) * known)
            total = np.stack(parts, axis=-1).reshape(-1, *grid_shape[1:])
            grad_grid = torch.from_numpy(total).to(grid.device, grid.dtype).sum_to_size(grid_shape)
        return grad_image, grad_grid, None, None, None, None


def _contract(image: np.ndarray, weight: list[np.ndarray]) -> np.ndarray:
    """Equation (3): sum over all pixels, ``(B, C, *spatial)`` -> ``(B, C, M)``."""
    if len(weight) == 2:
        return np.einsum("bcyx,bmy,bmx->bcm", image, *weight, optimize=True)
    return np.einsum("bczyx,bmz,bmy,bmx->bcm", image, *weight, optimize=True)


def _spread(grad: np.ndarray, weight: list[np.ndarray]) -> np.ndarray:
    """Equation (6): the transpose of ``_contract``."""
    if len(weight) == 2:
        return np.einsum("bcm,bmy,bmx->bcyx", grad, *weight, optimize=True)
    return np.einsum("bcm,bmz,bmy,bmx->bczyx", grad, *weight, optimize=True)


def sample_reference(
    image: Tensor,
    grid: Tensor,
    kernel: str,
    padding: str,
    fill: Tensor | None,
    align_corners: bool,
) -> Tensor:
    """Equation (3) in float64, returned in the image's dtype.

    Args:
        image: ``(B, C, *spatial)``.
        grid: ``(B, *size, d)``, normalised, in (x, y[, z]).
        kernel: "nearest" or "bilinear".
        padding: The padding's name.
        fill: Fill values ``(1 or B, C, 1)``; zero if None.
        align_corners: Whether -1 and 1 are the corner pixels' centres.

    Returns:
        ``(B, C, *size)``.

    Raises:
        BackendError: If the reference does not implement the kernel.

    Note:
        Gradient: equations (6) and (7); differentiable once.
    """
    if kernel not in KERNELS:
        raise BackendError(
            f"backend='reference' has the kernels {', '.join(KERNELS)}; not {kernel!r}"
        )
    if fill is None:
        fill = image.new_zeros(1, 1, 1)
    apply: Any = _Reference.apply
    return apply(image, grid, kernel, padding, fill, align_corners)
