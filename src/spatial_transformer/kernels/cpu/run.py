"""The C++ kernels on tensors: a plan of the call, pointers, and nothing else."""

from functools import lru_cache

import torch
from torch import Tensor

from spatial_transformer.coordinates import coordinate_dtype
from spatial_transformer.errors import ShapeError
from spatial_transformer.kernels.cpu import load
from spatial_transformer.kernels.cpu.load import Plan, function

#: the highest instruction set to use (0 baseline, 1 AVX2, 2 AVX-512), of those there are
LEVEL = 2
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


def is_channels_last(image: Tensor) -> bool:
    """Whether the channels of a pixel lie side by side (and not the pixels of a channel)."""
    if image.is_contiguous():
        return False
    layout = torch.channels_last if image.dim() == 4 else torch.channels_last_3d
    return image.is_contiguous(memory_format=layout)


def layout_of(image: Tensor) -> torch.memory_format:
    """The layout of what is made out of ``image``."""
    if not is_channels_last(image):
        return torch.contiguous_format
    return torch.channels_last if image.dim() == 4 else torch.channels_last_3d


def _plan(
    image: Tensor,
    maps: Tensor,
    size: tuple[int, ...],
    options: tuple[str, str, bool],
    fill: Tensor | None,
    grid: bool,
) -> Plan:
    """A plan is read only, so that calls alike can have the same one."""
    return _plan_of_shapes(
        *(image.shape, maps.shape, size, options, None if fill is None else fill.shape, grid),
        *(_HALVES.get(image.dtype, 0), is_channels_last(image), torch.get_num_threads(), LEVEL),
    )


@lru_cache(maxsize=256)
def _plan_of_shapes(
    image: torch.Size,
    maps: torch.Size,
    size: tuple[int, ...],
    options: tuple[str, str, bool],
    fill: torch.Size | None,
    grid: bool,
    *rest: int,
) -> Plan:
    kernel, padding, align_corners = options
    if padding == "reflection" and align_corners:
        padding = "mirror"
    images, channels, *spatial = image
    dims = len(spatial)
    count = maps[0]
    batch = max(images, count)
    fills = 0 if fill is None else fill[0]
    # the C++ side believes these shapes
    if batch % images or batch % count or (fills and batch % fills):
        raise ShapeError(
            f"the batches of image ({images}), {'grid' if grid else 'matrix'} ({count}) "
            f"and fill ({fills}) do not divide that of the output ({batch})"
        )
    projective = not grid and dims == 2 and maps[1] == 3
    if tuple(maps[1:]) != ((*size, dims) if grid else (dims + projective, dims + 1)):
        raise ShapeError(f"{'grid' if grid else 'matrix'} has the shape {tuple(maps)}")
    if fill is not None and fill.numel() != fills * channels:
        raise ShapeError(f"fill {tuple(fill)} is not one value per channel ({channels})")
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


def _as_stored(tensor: Tensor, dtype: torch.dtype, layout: torch.memory_format) -> Tensor:
    """With the image's layout and a type the kernels read: half precision is read as it is."""
    if dtype == torch.float64 or tensor.dtype not in _HALVES:
        tensor = _cast(tensor, dtype)
    return tensor.contiguous(memory_format=layout)


def _values(tensor: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    return None if tensor is None else _cast(tensor, dtype).contiguous()


def _pointer(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def _function(name: str, dtype: torch.dtype, pointers: int):  # type: ignore[no-untyped-def]
    return function(f"stn_{name}_{'f64' if dtype == torch.float64 else 'f32'}", pointers)


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
        maps: matrices ``(B, d, d + 1)`` or, projective, ``(B, 3, 3)``; with ``grid``, grids.
    """
    dtype, layout = coordinate_dtype(image, maps), layout_of(image)
    stored, wide = _as_stored(image, dtype, layout), _values(maps, dtype)
    values = _values(fill, dtype)
    plan = _plan(stored, maps, size, (kernel, padding, align_corners), fill, grid)
    shape = (plan.batch, image.shape[1], *size)
    out = torch.empty(shape, dtype=stored.dtype, memory_format=layout)
    call = _function("forward", dtype, 4)
    call(plan, stored.data_ptr(), _pointer(wide), _pointer(values), out.data_ptr())
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
    dtype, layout = coordinate_dtype(image, maps), layout_of(image)
    stored, wide = _as_stored(image, dtype, layout), _values(maps, dtype)
    values = _values(fill, dtype)
    options = (kernel, padding, align_corners)
    plan = _plan(stored, maps, tuple(grad.shape[2:]), options, fill, grid)
    stored_grad = _as_stored(_cast(grad, stored.dtype), dtype, layout)
    to_image = torch.empty_like(stored, memory_format=layout) if image_too else None
    to_maps = None
    if maps_too:
        # a shared grid's gradient is summed below; a shared matrix's is inside
        batch = plan.batch if grid else maps.shape[0]
        to_maps = torch.empty((batch, *maps.shape[1:]), dtype=dtype)
    call = _function("backward", dtype, 6)
    call(plan, *map(_pointer, (stored, wide, values, stored_grad, to_image, to_maps)))
    if to_maps is not None and grid and plan.batch != maps.shape[0]:
        to_maps = to_maps.unflatten(0, (maps.shape[0], -1)).sum(1)
    return (
        None if to_image is None else _cast(to_image, image.dtype),
        None if to_maps is None else _cast(to_maps, maps.dtype),
    )
