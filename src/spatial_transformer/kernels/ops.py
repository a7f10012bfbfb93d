"""The fused operators: one schema a warp, with fake kernels and autograd.

``stn::warp_matrix`` takes matrices (theta -> image, no grid), ``stn::sample_grid`` explicit grids.
Both return what ``samplers.eager`` returns; a double backward differentiates that instead.
"""

import math
from typing import Any

import torch
from torch import Tensor

from spatial_transformer.coordinates import coordinate_dtype
from spatial_transformer.errors import ShapeError
from spatial_transformer.kernels.cpu.load import Plan, function
from spatial_transformer.samplers import as_kernel
from spatial_transformer.samplers.eager import sample_eager
from spatial_transformer.transforms.matrix import grid_from_matrix

#: the highest instruction set to use (0 baseline, 1 AVX2, 2 AVX-512), of those there are
LEVEL = 2
KERNELS = {"nearest": 0, "bilinear": 1}
PADDINGS = {"zeros": 0, "fill": 0, "border": 1, "reflection": 2, "mirror": 3, "wrap": 4}

_LIBRARY = torch.library.Library("stn", "DEF")
_OPTIONS = "str kernel, str padding, Tensor? fill, bool align_corners"
_LIBRARY.define(f"warp_matrix(Tensor image, Tensor matrix, int[] size, {_OPTIONS}) -> Tensor")
_LIBRARY.define(f"sample_grid(Tensor image, Tensor grid, {_OPTIONS}) -> Tensor")
_LIBRARY.define(
    f"warp_matrix_backward(Tensor grad, Tensor image, Tensor matrix, {_OPTIONS}, "
    "bool image_too, bool matrix_too) -> (Tensor, Tensor)"
)
_LIBRARY.define(
    f"sample_grid_backward(Tensor grad, Tensor image, Tensor grid, {_OPTIONS}, "
    "bool image_too, bool grid_too) -> (Tensor, Tensor)"
)


def unsupported(image: Tensor, fill: Tensor | None) -> str | None:
    """What of a call the CPU kernels lack (besides its kernel), or None."""
    if image.device.type != "cpu":
        return f"images on {image.device.type}"
    if image.dim() != 4:
        return "3-D images"
    if math.prod(image.shape[2:]) >= 2**31:
        return "images of 2^31 pixels or more"
    if fill is not None and fill.requires_grad:
        return "a gradient to fill"
    return None


def _plan(
    image: Tensor,
    maps: Tensor,
    size: tuple[int, ...],
    options: tuple[Any, ...],
    fill: Tensor | None,
    grid: bool,
) -> Plan:
    kernel, padding, align_corners = options
    if padding == "reflection" and align_corners:
        padding = "mirror"
    images, channels, height, width = image.shape
    batch = max(images, maps.shape[0])
    fills = 0 if fill is None else fill.shape[0]
    # the C++ side believes these shapes
    if batch % images or batch % maps.shape[0] or (fills and batch % fills):
        raise ShapeError(
            f"the batches of image ({images}), {'grid' if grid else 'matrix'} ({maps.shape[0]}) "
            f"and fill ({fills}) do not divide that of the output ({batch})"
        )
    if maps.shape[1:] != ((*size, 2) if grid else (2, 3)):
        raise ShapeError(f"{'grid' if grid else 'matrix'} has the shape {tuple(maps.shape)}")
    if fill is not None and fill.numel() != fills * channels:
        raise ShapeError(f"fill {tuple(fill.shape)} is not one value per channel ({channels})")
    return Plan(
        *(grid, images, maps.shape[0], fills),
        *(batch, channels, height, width, *size),
        *(KERNELS[kernel], PADDINGS[padding], align_corners, torch.get_num_threads(), LEVEL),
    )


def _pointer(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def _suffix(dtype: torch.dtype) -> str:
    return "f64" if dtype == torch.float64 else "f32"


def _as(dtype: torch.dtype, *tensors: Tensor | None) -> list[Tensor | None]:
    return [None if t is None else t.to(dtype).contiguous() for t in tensors]


def _forward(
    image: Tensor,
    maps: Tensor,
    size: tuple[int, ...],
    options: tuple[Any, ...],
    fill: Tensor | None,
    grid: bool,
) -> Tensor:
    dtype = coordinate_dtype(image, maps)
    wide, wide_maps, values = _as(dtype, image, maps, fill)
    assert wide is not None
    assert wide_maps is not None
    plan = _plan(image, maps, size, options, fill, grid)
    out = torch.empty((plan.batch, image.shape[1], *size), dtype=dtype)
    call = function(f"stn_forward_{_suffix(dtype)}", 4)
    call(plan, *map(_pointer, (wide, wide_maps, values, out)))
    return out.to(image.dtype)


def _backward(
    grad: Tensor,
    image: Tensor,
    maps: Tensor,
    options: tuple[Any, ...],
    fill: Tensor | None,
    wanted: tuple[bool, bool],
    grid: bool,
) -> tuple[Tensor, Tensor]:
    dtype = coordinate_dtype(image, maps)
    wide_grad, wide, wide_maps, values = _as(dtype, grad, image, maps, fill)
    assert wide is not None
    assert wide_maps is not None
    plan = _plan(image, maps, tuple(grad.shape[2:]), options, fill, grid)
    grad_image = torch.empty_like(wide) if wanted[0] else None
    grad_maps = None
    if wanted[1]:
        # a shared grid's gradient is summed below; a shared matrix's is inside
        batch = plan.batch if grid else maps.shape[0]
        grad_maps = torch.empty((batch, *maps.shape[1:]), dtype=dtype)
    call = function(f"stn_backward_{_suffix(dtype)}", 6)
    call(plan, *map(_pointer, (wide, wide_maps, values, wide_grad, grad_image, grad_maps)))
    empty = torch.empty(0, dtype=dtype)
    if grad_maps is not None:
        grad_maps = grad_maps.sum_to_size(maps.shape)
    return (
        empty if grad_image is None else grad_image.to(image.dtype),
        empty if grad_maps is None else grad_maps.to(maps.dtype),
    )


def _warp_cpu(image, matrix, size, kernel, padding, fill, align_corners):  # type: ignore[no-untyped-def]
    options = (kernel, padding, align_corners)
    return _forward(image, matrix, tuple(size), options, fill, False)


def _sample_cpu(image, grid, kernel, padding, fill, align_corners):  # type: ignore[no-untyped-def]
    options = (kernel, padding, align_corners)
    return _forward(image, grid, tuple(grid.shape[1:-1]), options, fill, True)


def _warp_backward_cpu(grad, image, matrix, kernel, padding, fill, align_corners, a, b):  # type: ignore[no-untyped-def]
    options = (kernel, padding, align_corners)
    return _backward(grad, image, matrix, options, fill, (a, b), False)


def _sample_backward_cpu(grad, image, grid, kernel, padding, fill, align_corners, a, b):  # type: ignore[no-untyped-def]
    options = (kernel, padding, align_corners)
    return _backward(grad, image, grid, options, fill, (a, b), True)


for _name, _kernel in (
    ("warp_matrix", _warp_cpu),
    ("sample_grid", _sample_cpu),
    ("warp_matrix_backward", _warp_backward_cpu),
    ("sample_grid_backward", _sample_backward_cpu),
):
    _LIBRARY.impl(_name, _kernel, "CPU")


@torch.library.register_fake("stn::warp_matrix", lib=_LIBRARY)
def _(image, matrix, size, kernel, padding, fill, align_corners):  # type: ignore[no-untyped-def]
    batch = max(image.shape[0], matrix.shape[0])
    return image.new_empty((batch, image.shape[1], *size))


@torch.library.register_fake("stn::sample_grid", lib=_LIBRARY)
def _(image, grid, kernel, padding, fill, align_corners):  # type: ignore[no-untyped-def]
    batch = max(image.shape[0], grid.shape[0])
    return image.new_empty((batch, image.shape[1], *grid.shape[1:-1]))


def _fake_backward(grad, image, maps, kernel, padding, fill, align_corners, a, b):  # type: ignore[no-untyped-def]
    return (
        torch.empty_like(image, memory_format=torch.contiguous_format) if a else image.new_empty(0),
        torch.empty_like(maps, memory_format=torch.contiguous_format) if b else maps.new_empty(0),
    )


torch.library.register_fake("stn::warp_matrix_backward", _fake_backward, lib=_LIBRARY)
torch.library.register_fake("stn::sample_grid_backward", _fake_backward, lib=_LIBRARY)


def _eager(grid: bool, image: Tensor, maps: Tensor, size: Any, options: tuple[Any, ...]) -> Tensor:
    """The same warp in operations that can be differentiated twice."""
    kernel, padding, fill, align_corners = options
    if not grid:
        maps = grid_from_matrix(maps.to(coordinate_dtype(maps)), tuple(size), align_corners)
    return sample_eager(image, maps, as_kernel(kernel), padding, fill, align_corners)


def _setup(grid: bool) -> Any:
    def setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        image, maps = inputs[:2]
        options = inputs[2:] if grid else inputs[3:]
        ctx.size = tuple(output.shape[2:])
        ctx.options = (options[0], options[1], options[3])
        ctx.save_for_backward(image, maps, options[2])

    return setup


def _gradient(grid: bool) -> Any:
    name = "sample_grid_backward" if grid else "warp_matrix_backward"

    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        image, maps, fill = ctx.saved_tensors
        kernel, padding, align_corners = ctx.options
        wanted = ctx.needs_input_grad[:2]
        rest = (None,) * (4 if grid else 5)
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            options = (kernel, padding, fill, align_corners)
            inputs = [t for t, w in zip((image, maps), wanted, strict=True) if w]
            out = _eager(grid, image, maps, ctx.size, options)
            found = iter(torch.autograd.grad(out, inputs, grad, create_graph=True))
            return (*(next(found) if w else None for w in wanted), *rest)
        call = getattr(torch.ops.stn, name)
        to_image, to_maps = call(grad, image, maps, kernel, padding, fill, align_corners, *wanted)
        return (to_image if wanted[0] else None, to_maps if wanted[1] else None, *rest)

    return backward


for _name, _is_grid in (("warp_matrix", False), ("sample_grid", True)):
    torch.library.register_autograd(
        f"stn::{_name}", _gradient(_is_grid), setup_context=_setup(_is_grid), lib=_LIBRARY
    )
