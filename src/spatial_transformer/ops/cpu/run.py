"""The C++ kernels on tensors: a plan of the call, pointers, and nothing else."""

import ctypes
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from spatial_transformer.ops.cpu import load
from spatial_transformer.ops.cpu.load import Plan, function
from spatial_transformer.ops.layout import is_channels_last
from spatial_transformer.ops.shapes import check_shapes
from spatial_transformer.sums import total

#: the highest instruction set to use, of those there are: a place in ``load.SETS``
LEVEL = load.highest_set()
KERNELS = {"nearest": 0, "bilinear": 1, "bicubic": 2}
PADDINGS = {"zeros": 0, "fill": 0, "border": 1, "reflection": 2, "mirror": 3, "wrap": 4}
_HALVES = {torch.bfloat16: 1, torch.float16: 2}


def available() -> tuple[bool, str]:
    """Whether the kernels were built, and why (not)."""
    return load.LIBRARY is not None, load.WHY


def lacking(image: Tensor, kernel: str) -> str | None:
    """What of a call the C++ kernels have not, or None."""
    if image.device.type != "cpu":
        return f"images on {image.device.type}"
    if image.dim() == 5 and kernel == "bicubic":
        return "bicubic kernel for 3-D images"
    pixels = 1
    for n in image.shape[2:]:
        pixels *= n + 8  # a copy extends every side by 4 pixels at most
    return "images of 2^31 pixels or more" if pixels >= 2**31 else None


class _Call(NamedTuple):
    """What calls of one cache key share: all but pointers."""

    plan: Any  # a reference to a Plan, which is read only
    shape: tuple[int, ...]  # of the output
    stored: torch.dtype  # of the image as the kernels read it, of the output and their gradients
    dtype: torch.dtype  # of the maps
    values: torch.dtype  # of the fill values
    layout: torch.memory_format
    forward: Callable[..., None]
    backward: Callable[..., None]


@lru_cache(maxsize=256)
def _call_of(
    image: torch.Size,
    image_dtype: torch.dtype,
    channels_last: bool,
    maps: torch.Size,
    maps_dtype: torch.dtype,
    fill: torch.Size | None,
    size: tuple[int, ...],
    options: tuple[str, str, bool],
    grid: bool,
    threads: int,
    level: int,
) -> _Call:
    copies = options[0] == "nearest"  # which has elements of any type, as they are
    double = maps_dtype is torch.float64 or (image_dtype is torch.float64 and not copies)
    dtype = torch.float64 if double else torch.float32
    stored = image_dtype if copies or (image_dtype in _HALVES and not double) else dtype
    # grids are as exact as the numbers they were made of; of matrices, coordinates are made here
    single = grid and double and maps_dtype is not torch.float64
    plan = _plan(
        *(image, maps, size, options, fill, grid),
        *(_HALVES.get(stored, 0), stored.itemsize, channels_last, single, threads, level),
    )
    suffix = "f64" if double else "f32"
    forward, backward = ("nearest", "nearest_backward") if copies else ("forward", "backward")
    layout = torch.contiguous_format
    if channels_last:
        layout = torch.channels_last if len(image) == 4 else torch.channels_last_3d
    return _Call(
        *(ctypes.byref(plan), (plan.batch, image[1], *size), stored, dtype),
        *(stored if copies else dtype, layout, function(f"stn_{forward}_{suffix}", 4)),
        function(f"stn_{backward}_{suffix}", 3 if copies else 6),
    )


def _plan(
    image: torch.Size,
    maps: torch.Size,
    size: tuple[int, ...],
    options: tuple[str, str, bool],
    fill: torch.Size | None,
    grid: bool,
    *rest: int,
) -> Plan:
    check_shapes(image, maps, fill, size, grid)
    kernel, padding, align_corners = options
    if padding == "reflection" and align_corners:
        padding = "mirror"
    images, channels, *spatial = image
    dims = len(spatial)
    count = maps[0]
    batch = max(images, count)
    fills = 0 if fill is None else fill[0]
    projective = not grid and tuple(maps[1:]) == (3, 3)
    flat = (1,) if dims == 2 else ()  # z comes last, as x is first
    return Plan(
        *(grid, projective, images, count, fills, batch, channels, dims),
        (*spatial[::-1], *flat),
        (*size[::-1], *flat),
        *(KERNELS[kernel], PADDINGS[padding], align_corners),
        *rest,
    )


def _cast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """``tensor.to(dtype)``, but for what that takes where there is nothing to do."""
    return tensor if tensor.dtype is dtype else tensor.to(dtype)


def _pointer(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def _ready(
    image: Tensor,
    maps: Tensor,
    size: tuple[int, ...],
    options: tuple[str, str, bool],
    fill: Tensor | None,
    grid: bool,
) -> tuple[_Call, Tensor, Tensor, Tensor | None]:
    """The call, and its tensors as the kernels read them."""
    if image.is_contiguous():
        last = False
    elif not (last := is_channels_last(image)):
        image = image.contiguous()
    call = _call_of(
        *(image.shape, image.dtype, last, maps.shape, maps.dtype),
        *(None if fill is None else fill.shape, size, options, grid),
        *(torch.get_num_threads(), LEVEL),
    )
    values = None if fill is None else _cast(fill, call.values).contiguous()
    return call, _cast(image, call.stored), _cast(maps, call.dtype).contiguous(), values


def forward(
    image: Tensor,
    maps: Tensor,
    size: tuple[int, ...],
    kernel: str,
    padding: str,
    fill: Tensor | None,
    align_corners: bool,
    *,
    grid: bool,
) -> Tensor:
    """The warp, laid out as the image is.

    Args:
        maps: matrices ``(B, d, d + 1)``, as thetas ``(B, d * (d + 1))`` or, projective,
            ``(B, 3, 3)``; with ``grid``, grids.
    """
    options = (kernel, padding, align_corners)
    call, stored, wide, values = _ready(image, maps, size, options, fill, grid)
    out = torch.empty(call.shape, dtype=call.stored, memory_format=call.layout)
    call.forward(call.plan, stored.data_ptr(), wide.data_ptr(), _pointer(values), out.data_ptr())
    return _cast(out, image.dtype)


def backward(
    grad: Tensor,
    image: Tensor,
    maps: Tensor,
    kernel: str,
    padding: str,
    fill: Tensor | None,
    align_corners: bool,
    *,
    grid: bool,
    image_too: bool,
    maps_too: bool,
) -> tuple[Tensor | None, Tensor | None]:
    """The gradients to the image and to the maps, those that are wanted."""
    options, size = (kernel, padding, align_corners), tuple(grad.shape[2:])
    call, stored, wide, values = _ready(image, maps, size, options, fill, grid)
    stored_grad = _cast(grad, call.stored).contiguous(memory_format=call.layout)
    to_image = torch.empty_like(stored, memory_format=call.layout) if image_too else None
    to_maps = None
    if kernel == "nearest":
        if to_image is not None:
            call.backward(call.plan, *map(_pointer, (wide, stored_grad, to_image)))
        # flat between its steps
        return to_image, torch.zeros_like(maps) if maps_too else None
    if maps_too:
        # a shared grid's gradient is summed below; a shared matrix's is inside
        batch = call.shape[0] if grid else maps.shape[0]
        to_maps = torch.empty((batch, *maps.shape[1:]), dtype=call.dtype)
    call.backward(call.plan, *map(_pointer, (stored, wide, values, stored_grad, to_image, to_maps)))
    if to_maps is not None and grid and call.shape[0] != maps.shape[0]:
        to_maps = total(to_maps.unflatten(0, (maps.shape[0], -1)), 1)
    return (
        None if to_image is None else _cast(to_image, image.dtype),
        None if to_maps is None else _cast(to_maps, maps.dtype),
    )
