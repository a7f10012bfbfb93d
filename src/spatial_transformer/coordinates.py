"""The one coordinate convention: pixel index <-> normalised coordinate, and base grids.

Along an axis of ``n`` pixels the normalised coordinate ``x`` and the pixel index ``u`` are tied by

    u = x * half + centre,    centre = (n - 1) / 2,    half = n / 2  or  (n - 1) / 2

with ``half = n / 2`` for ``align_corners=False`` (the image's edges are at -1 and +1; the default)
and ``half = (n - 1) / 2`` for ``align_corners=True`` (the corner pixels' centres are). No other
module computes either direction by itself.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from numbers import Integral
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor

from spatial_transformer.errors import DTypeError, OptionError, ShapeError
from spatial_transformer.ops.torch_internals import in_functorch

P = ParamSpec("P")
R = TypeVar("R")


#: distance from the image's edge, in pixels, within which float32 resolves half pixels
HALVES = 2.0**21


def half_extent(n: int, align_corners: bool) -> float:
    """Pixels per normalised unit along an axis of ``n`` pixels."""
    return (n - 1) / 2 if align_corners else n / 2


def to_pixel(x: Tensor, n: int, align_corners: bool = False) -> Tensor:
    """Normalised coordinate to pixel index (a real number; 0 is the first pixel's centre).

    Examples:
        >>> to_pixel(torch.tensor([-1.0, 0.0, 1.0]), 4)
        tensor([-0.5000,  1.5000,  3.5000])
        >>> to_pixel(torch.tensor([-1.0, 0.0, 1.0]), 4, align_corners=True)
        tensor([0.0000, 1.5000, 3.0000])
    """
    return x * half_extent(n, align_corners) + (n - 1) / 2


def to_normalised(u: Tensor, n: int, align_corners: bool = False) -> Tensor:
    """Pixel index to normalised coordinate; the inverse of ``to_pixel``.

    A single pixel with ``align_corners=True`` has no extent: it is at 0.

    Examples:
        >>> to_normalised(torch.tensor([-0.5, 1.5]), 4)
        tensor([-1.,  0.])
    """
    # twice the offset is exact for whole and half pixels, so the division rounds only once
    twice = 2 * u - (n - 1)
    extent = n - 1 if align_corners else n
    return twice / extent if extent else twice * 0


def snap_tolerance(u: Tensor, n: int, made_in: torch.dtype) -> Tensor:
    """The snap: how far, in pixels, rounding can move coordinates ``u`` on an axis of ``n`` pixels.

    It is eps times the greater of n and the coordinate's own size, a quarter of a pixel at most so
    that no other pixel becomes the nearest. A coordinate this near to a whole pixel *is* that
    pixel: float arithmetic cannot tell them apart, and without it the identity would not return the
    image itself.

    Args:
        u: Pixel coordinates.
        n: Pixels of the axis.
        made_in: The dtype that the coordinates were computed in, whatever they have been converted
            to since; eps is that dtype's.
    """
    size = u.detach().abs().clamp(min=n)
    return (torch.finfo(made_in).eps * size).clamp(max=0.25)


def nearest_pixel(x: Tensor, n: int, align_corners: bool = False) -> Tensor:
    """The pixel nearest to finite normalised coordinates, of ``n`` along an axis; ties go right.

    It is decided in float64 (where the device supports it), so that it does not depend on the
    image's dtype, and by the exact value of ``x``, not by one within rounding error of it. But the
    value nearest to the middle between two pixels means that middle: a regular grid has no other.

    Returns:
        Integers of any size, held as floats.

    Examples:
        >>> nearest_pixel(torch.tensor([-2 / 3, 0.0, 2 / 3]), 6)
        tensor([1., 3., 5.], dtype=torch.float64)
    """
    u = to_pixel(x.to(precise_dtype(x.device)), n, align_corners)
    base = torch.floor(u)
    up = u - base >= 0.5  # the difference is exact, however large they are
    if half_extent(n, align_corners):
        middle = to_normalised(base + 0.5, n, align_corners).to(x.dtype) == x
        up = up | (middle & (u.abs() < HALVES))
    return base + up.to(base.dtype)


def precise_dtype(device: torch.device) -> torch.dtype:
    """float64, or float32 on devices that do not support float64 (Apple's GPUs)."""
    return torch.float32 if device.type == "mps" else torch.float64


def axis(
    n: int,
    align_corners: bool = False,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> Tensor:
    """The normalised coordinates of the ``n`` pixel centres of one axis, shape ``(n,)``.

    Examples:
        >>> axis(4)
        tensor([-0.7500, -0.2500,  0.2500,  0.7500])
        >>> axis(3, align_corners=True)
        tensor([-1.,  0.,  1.])
    """
    return to_normalised(torch.arange(n, dtype=dtype, device=device), n, align_corners)


def axes(
    size: Sequence[int],
    align_corners: bool = False,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> list[Tensor]:
    """One ``axis`` per dimension in the order of coordinates, x first, shaped to broadcast.

    For ``size = (H, W)``: x of shape ``(1, W)`` and y of shape ``(H, 1)``; for ``(D, H, W)`` x, y
    and z likewise.
    """
    dims = len(size)
    out = []
    for k, n in enumerate(reversed(size)):
        shape = [1] * dims
        shape[dims - 1 - k] = n
        out.append(axis(n, align_corners, dtype=dtype, device=device).reshape(shape))
    return out


def base_grid(
    size: Sequence[int],
    align_corners: bool = False,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> Tensor:
    """The regular grid G of output pixel centres, shape ``(*size, len(size))`` in (x, y[, z]).

    Note:
        Source: the paper's section 3.2.

    Examples:
        >>> base_grid((1, 2))
        tensor([[[-0.5000,  0.0000],
                 [ 0.5000,  0.0000]]])
    """
    coordinates = axes(size, align_corners, dtype=dtype, device=device)
    return torch.stack([c.expand(tuple(size)) for c in coordinates], dim=-1)


def grid_from_pixels(pixels: Tensor, size: Sequence[int], align_corners: bool = False) -> Tensor:
    """A grid from pixel coordinates of the input.

    Args:
        pixels: ``(B, ..., d)`` in (x, y[, z]), in pixels of the input; 0 is the first pixel's
            centre.
        size: The input's ``(H, W)`` or ``(D, H, W)``.
        align_corners: Whether the grid is for sampling with ``align_corners=True``.

    Returns:
        The normalised grid ``(B, ..., d)``; float32 or wider.

    Raises:
        ShapeError: If the last axis is not the number of dimensions, or ``size`` is not a size.
        DTypeError: If ``pixels`` is not a tensor.

    Examples:
        >>> grid_from_pixels(torch.tensor([[[[0.0, 1.5]]]]), (4, 4))
        tensor([[[[-0.7500,  0.0000]]]])
    """
    if not isinstance(pixels, Tensor):
        raise DTypeError(f"pixels must be a tensor, got {type(pixels).__name__}")
    dims = 3 if isinstance(size, Sequence) and len(size) == 3 else 2
    if pixels.dim() == 0 or pixels.shape[-1] != dims:
        raise ShapeError(
            f"pixels must be (..., {dims}) for an input of {size}, got {tuple(pixels.shape)}"
        )
    parts = pixels.to(coordinate_dtype(pixels)).unbind(-1)
    ends = zip(parts, reversed(check_size(size, dims)), strict=True)
    return torch.stack([to_normalised(u, n, align_corners) for u, n in ends], dim=-1)


def grid_from_flow(flow: Tensor, align_corners: bool = False) -> Tensor:
    """A grid from a residual flow: output pixel p reads the input of the same size at p + flow(p).

    Args:
        flow: ``(B, H, W, 2)`` or ``(B, D, H, W, 3)`` in (x, y[, z]), in pixels.
        align_corners: Whether the grid is for sampling with ``align_corners=True``.

    Returns:
        The normalised grid, of the flow's shape; float32 or wider.

    Raises:
        ShapeError: If the flow has another shape.
        DTypeError: If ``flow`` is not a tensor.

    Examples:
        >>> grid_from_flow(torch.zeros(1, 1, 2, 2))
        tensor([[[[-0.5000,  0.0000],
                  [ 0.5000,  0.0000]]]])
    """
    if not isinstance(flow, Tensor):
        raise DTypeError(f"flow must be a tensor, got {type(flow).__name__}")
    size = flow.shape[1:-1]
    if len(size) not in (2, 3) or flow.shape[-1] != len(size):
        raise ShapeError(f"flow must be (B, H, W, 2) or (B, D, H, W, 3), got {tuple(flow.shape)}")
    dtype = coordinate_dtype(flow)
    steps = [torch.arange(n, dtype=dtype, device=flow.device) for n in size]
    here = torch.stack(torch.meshgrid(*steps, indexing="ij")[::-1], dim=-1)
    return grid_from_pixels(here + flow.to(dtype), size, align_corners)


def shared_batch(*batches: int) -> int:
    """The batch size of tensors whose batches are equal or 1."""
    batch = 1
    for n in batches:
        batch = batch if n == 1 else n
    return batch


def coordinate_dtype(*tensors: Tensor) -> torch.dtype:
    """The dtype coordinates and weights are computed in: float32, or float64 if any input is."""
    for tensor in tensors:
        if tensor.dtype is torch.float64:
            return torch.float64
    return torch.float32


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """A context without autocast, which would compute products in half precision."""
    if device.type == "meta":  # has no autocast
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


def on_cpu(function: Callable[P, R]) -> Callable[P, R]:
    """Make ``function`` create its tensors on the CPU.

    What it computes are constants, also where a network is built on ``torch.device("meta")``.
    """

    @wraps(function)
    def call(*args: P.args, **options: P.kwargs) -> R:
        with torch.device("cpu"):
            return function(*args, **options)

    return call


def is_concrete(tensor: Tensor) -> bool:
    """Whether a tensor's values are available: not traced, vmapped, or on the meta device."""
    there = type(tensor) is Tensor and tensor.device.type != "meta"
    return there and not torch.compiler.is_compiling() and not in_functorch()


def check_flag(name: str, value: object) -> None:
    """Check that an option is a bool.

    Raises:
        OptionError: If ``value`` is neither True nor False.
    """
    if not isinstance(value, bool):
        raise OptionError(f"{name} must be True or False, got {value!r}")


def is_count(value: object) -> bool:
    """Whether it is a positive whole number (True is not)."""
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 1


def check_size(size: object, dims: int, least: int = 1) -> tuple[int, ...]:
    """``size`` as a tuple of ``dims`` ints.

    Args:
        size: The size; an int means that many on every axis.
        dims: The number of axes.
        least: The least number of an axis, 0 or 1.

    Raises:
        ShapeError: If it is not ``dims`` whole numbers of at least ``least``.
    """
    if isinstance(size, (Integral, torch.SymInt)) and not isinstance(size, bool):
        size = (size,) * dims
    names = "(H', W')" if dims == 2 else "(D', H', W')"
    try:
        # a traced size stays a symbol
        out: tuple[int, ...] = tuple(
            n if isinstance(n, torch.SymInt) else int(n)  # type: ignore[misc]
            for n in size  # type: ignore[attr-defined]
        )
        integral = all(a == b for a, b in zip(out, size, strict=True))  # type: ignore[call-overload]
    except (TypeError, ValueError):
        out, integral = (), False
    if not integral or len(out) != dims or any(n < least for n in out):
        kind = "positive whole numbers" if least else "whole numbers, none of them negative"
        raise ShapeError(f"size must be {names} of {dims} {kind}, got {size!r}")
    return out  # type: ignore[return-value]
