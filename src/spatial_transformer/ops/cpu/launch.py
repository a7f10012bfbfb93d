"""Calls of the C++ backend: a plan and the tensors' pointers."""

import ctypes
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from spatial_transformer.ops.cpu import load
from spatial_transformer.ops.cpu.load import OUT_OF_MEMORY, Plan, function
from spatial_transformer.ops.layout import is_channels_last, layout_of
from spatial_transformer.ops.shapes import check_shapes
from spatial_transformer.samplers.padding import padding_rule
from spatial_transformer.sums import total

#: the highest instruction set to use, an index into ``load.SETS``
LEVEL = load.highest_set()
_KERNEL_CODES = {"nearest": 0, "bilinear": 1, "bicubic": 2}
_PADDING_CODES = {"zeros": 0, "fill": 0, "border": 1, "reflection": 2, "mirror": 3, "wrap": 4}
_HALVES = {torch.bfloat16: 1, torch.float16: 2}


def available() -> tuple[bool, str]:
    """Whether the C++ library was built, and the reason."""
    return load.LIBRARY is not None, load.WHY


def unsupported_reason(image: Tensor, kernel: str) -> str | None:
    """What the C++ backend does not support about a call, or None."""
    if image.device.type != "cpu":
        return f"images on {image.device.type}"
    if image.dim() == 5 and kernel == "bicubic":
        return "bicubic kernel for 3-D images"
    pixels = 1
    for n in image.shape[2:]:
        pixels *= n + 8  # a copy extends every side by 4 pixels at most
    return "images of 2^31 pixels or more" if pixels >= 2**31 else None


def _plan(
    image: torch.Size,
    maps: torch.Size,
    size: tuple[int, ...],
    options: tuple[str, str, bool],
    fill: torch.Size | None,
    grid: bool,
    *execution: int,
) -> Plan:
    check_shapes(image, maps, fill, size, grid)
    kernel, padding, align_corners = options
    padding = padding_rule(padding, align_corners)
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
        *(_KERNEL_CODES[kernel], _PADDING_CODES[padding], align_corners),
        *execution,
    )


class _Call:
    """Everything about a call except its tensors, and the call on tensors."""

    def __init__(
        self,
        image: torch.Size,
        image_dtype: torch.dtype,
        layout: torch.memory_format | None,
        maps: torch.Size,
        maps_dtype: torch.dtype,
        fill: torch.Size | None,
        size: tuple[int, ...],
        options: tuple[str, str, bool],
        grid: bool,
        threads: int,
        level: int,
    ) -> None:
        copies = options[0] == "nearest"  # copied bit by bit, of any dtype
        double = maps_dtype is torch.float64 or (image_dtype is torch.float64 and not copies)
        # dtype of maps and sums
        self.dtype = torch.float64 if double else torch.float32
        # dtype of image, output and their gradients in memory
        keeps = copies or (image_dtype in _HALVES and not double)
        self.stored = image_dtype if keeps else self.dtype
        self.fill_dtype = self.stored if copies else self.dtype
        self.image_dtype = image_dtype
        self.strided = layout is None  # then the image is copied first
        self.layout = layout or torch.contiguous_format
        channels_last = self.layout is not torch.contiguous_format
        # grids have the precision of their source; matrices are expanded to coordinates here
        single = grid and double and maps_dtype is not torch.float64
        plan = _plan(
            *(image, maps, size, options, fill, grid, _HALVES.get(self.stored, 0)),
            *(self.stored.itemsize, channels_last, single, threads, level),
        )
        self.plan = ctypes.byref(plan)
        self.shape = (plan.batch, image[1], *size)
        self.copies, self.grid = copies, grid
        suffix = "f64" if double else "f32"
        kind = "nearest" if copies else "linear"
        self._forward = function(f"stn_{_FORWARD[kind]}_{suffix}", 4)
        self._backward = function(f"stn_{_BACKWARD[kind]}_{suffix}", 3 if copies else 6)

    def launch(self, image: Tensor, maps: Tensor, fill: Tensor | None) -> Tensor:
        """The output."""
        if self.strided:
            image = image.contiguous()
        if image.dtype is not self.stored:
            image = image.to(self.stored)
        if maps.dtype is not self.dtype:
            maps = maps.to(self.dtype)
        if not maps.is_contiguous():
            maps = maps.contiguous()
        if fill is not None:
            fill = fill.to(self.fill_dtype).contiguous()
        out = torch.empty(self.shape, dtype=self.stored, memory_format=self.layout)
        values = None if fill is None else fill.data_ptr()
        if self._forward(self.plan, image.data_ptr(), maps.data_ptr(), values, out.data_ptr()):
            raise MemoryError(OUT_OF_MEMORY)
        return out if self.stored is self.image_dtype else out.to(self.image_dtype)

    def gradients(
        self,
        grad: Tensor,
        image: Tensor,
        maps: Tensor,
        fill: Tensor | None,
        needs_image_grad: bool,
        needs_map_grad: bool,
    ) -> tuple[Tensor | None, Tensor | None]:
        """The gradients to the image and to the maps; None for one that is not needed."""
        if self.strided:
            image = image.contiguous()
        stored, read = image.to(self.stored), maps.to(self.dtype).contiguous()
        grad = grad.to(self.stored).contiguous(memory_format=self.layout)
        to_image = None
        if needs_image_grad:
            to_image = torch.empty_like(stored, memory_format=self.layout)
        if self.copies:
            if to_image is not None:
                self._run_backward(read, grad, to_image)
            # piecewise constant: the gradient to the maps is zero
            return to_image, torch.zeros_like(maps) if needs_map_grad else None
        to_maps = None
        if needs_map_grad:
            # a shared grid's gradient is summed below; a shared matrix's in C++
            batch = self.shape[0] if self.grid else maps.shape[0]
            to_maps = torch.empty((batch, *maps.shape[1:]), dtype=self.dtype)
        values = None if fill is None else fill.to(self.fill_dtype).contiguous()
        self._run_backward(stored, read, values, grad, to_image, to_maps)
        if to_maps is not None and self.grid and self.shape[0] != maps.shape[0]:
            to_maps = total(to_maps.unflatten(0, (maps.shape[0], -1)), 1)
        return (
            None if to_image is None else to_image.to(self.image_dtype),
            None if to_maps is None else to_maps.to(maps.dtype),
        )

    def _run_backward(self, *tensors: Tensor | None) -> None:
        if self._backward(self.plan, *(None if t is None else t.data_ptr() for t in tensors)):
            raise MemoryError(OUT_OF_MEMORY)


_FORWARD = {"nearest": "nearest", "linear": "forward"}
_BACKWARD = {"nearest": "nearest_backward", "linear": "backward"}

_call = lru_cache(maxsize=256)(_Call)


def _call_of(
    image: Tensor,
    maps: Tensor,
    size: tuple[int, ...],
    options: tuple[str, str, bool],
    fill: Tensor | None,
    grid: bool,
) -> _Call:
    layout: torch.memory_format | None = torch.contiguous_format
    if not image.is_contiguous():
        layout = layout_of(image) if is_channels_last(image) else None
    return _call(
        *(image.shape, image.dtype, layout, maps.shape, maps.dtype),
        *(None if fill is None else fill.shape, size, options, grid),
        *(torch.get_num_threads(), LEVEL),
    )


def bind(
    image: Tensor,
    maps: Tensor,
    size: tuple[int, ...],
    kernel: str,
    padding: str,
    fill: Tensor | None,
    align_corners: bool,
    *,
    grid: bool,
) -> Any:
    """The forward call on these tensors; see ``spatial_transformer.ops.backend.Backend``."""
    return _call_of(image, maps, size, (kernel, padding, align_corners), fill, grid).launch


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
    needs_image_grad: bool,
    needs_map_grad: bool,
) -> tuple[Tensor | None, Tensor | None]:
    """The gradients to image and maps; see ``spatial_transformer.ops.backend.Backend``."""
    options, size = (kernel, padding, align_corners), tuple(grad.shape[2:])
    call = _call_of(image, maps, size, options, fill, grid)
    return call.gradients(grad, image, maps, fill, needs_image_grad, needs_map_grad)
