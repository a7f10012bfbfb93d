"""Calls of the Triton kernels: shapes, layouts, and how the work is cut into programs.

Triton itself is imported at the first call.
"""

import math
from collections.abc import Sequence
from contextlib import nullcontext
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from spatial_transformer.coordinates import coordinate_dtype
from spatial_transformer.errors import ShapeError

TAPS = {"nearest": 1, "bilinear": 2, "bicubic": 4}
# programs of a launch, so that channels are shared out where there are fewer pixels than that
ENOUGH = 1024


class Blocks(NamedTuple):
    """How one launch is cut: a program has tile_h x tile_w pixels of one output, and goes through
    ``chunk`` blocks of ``block_c`` channels."""

    tile_h: int
    tile_w: int
    block_c: int
    chunk: int
    chunks: int
    programs: int
    warps: int


def _power(n: int) -> int:
    """The least power of 2 from n on."""
    return 1 << max(n - 1, 0).bit_length()


def _up(n: int, step: int) -> int:
    """How many steps cover n."""
    return -(-n // step)


@lru_cache(maxsize=4096)
def blocks(
    batch: int,
    channels: int,
    size: tuple[int, ...],
    elements: int,
    along_channels: bool,
    whole: bool,
) -> Blocks:
    """A cut into programs of about ``elements`` pixels times channels; ``whole``: each with all
    the channels."""
    height, width = size[-2:]
    widest = min(_power(channels), 64 if along_channels else 4)
    # the least to no use, then the largest; under 16 channels a thread has less than it can load
    fits = [1 << k for k in range(widest.bit_length()) if 1 << k >= min(widest, 16)]
    block_c = min(fits, key=lambda n: (_up(channels, n) * n, -n))
    pixels = min(elements // block_c, _power(height) * _power(width))

    def waste(tile_w: int) -> tuple[int, int]:
        tile_h = pixels // tile_w
        area = _up(height, tile_h) * tile_h * _up(width, tile_w) * tile_w
        return area, abs(tile_w.bit_length() - (32).bit_length())

    tile_w = min([1 << k for k in range(pixels.bit_length())], key=waste)
    tile_h = pixels // tile_w
    tiles = _up(height, tile_h) * _up(width, tile_w) * math.prod(size[:-2]) * batch
    most = _up(channels, block_c)
    chunk = _up(most, 1 if whole else min(most, _up(ENOUGH, tiles)))
    chunks = _up(most, chunk)
    warps = max(1, min(4, pixels * block_c // 32))
    return Blocks(tile_h, tile_w, block_c, chunk, chunks, tiles * chunks, warps)


def _layout(image: Tensor) -> torch.memory_format:
    """The memory format of what is made of an image."""
    last = torch.channels_last if image.dim() == 4 else torch.channels_last_3d
    alike = image.shape[1] > 1 and image.is_contiguous(memory_format=last)
    return last if alike else torch.contiguous_format


def _strides(t: Tensor, dims: int) -> tuple[int, ...]:
    """Of batch, channels, z, y, x."""
    s = t.stride()
    return s if dims == 3 else (s[0], s[1], 0, s[2], s[3])


def _extent(t: Tensor) -> int:
    """How far apart, in entries, the entries of one item of the batch are."""
    return sum((n - 1) * s for n, s in zip(t.shape[1:], t.stride()[1:], strict=True))


class _Call:
    """What the forward and the backward kernel take alike."""

    def __init__(
        self,
        image: Tensor,
        maps: Tensor,
        size: Sequence[int],
        kernel: str,
        padding: str,
        fill: Tensor | None,
        align_corners: bool,
        grid: bool,
    ) -> None:
        dims = image.dim() - 2
        images, channels = image.shape[:2]
        batch = max(images, maps.shape[0])
        fills = 1 if fill is None else fill.shape[0]
        self.size = tuple(size)
        square = maps.shape[-1] == maps.shape[-2] == dims + 1 == 3
        shape = (*self.size, dims) if grid else (3, 3) if square else (dims, dims + 1)
        what = "grid" if grid else "matrix"
        # the kernels believe these shapes
        if batch % images or batch % maps.shape[0] or batch % fills:
            raise ShapeError(
                f"the batches of image ({images}), {what} ({maps.shape[0]}) and fill ({fills}) "
                f"do not divide that of the output ({batch})"
            )
        if tuple(maps.shape[1:]) != shape or len(self.size) != dims:
            raise ShapeError(f"{what} has the shape {tuple(maps.shape)}")
        if fill is not None and fill.numel() != fills * channels:
            raise ShapeError(f"fill {tuple(fill.shape)} is not one value per channel ({channels})")
        if padding == "reflection" and align_corners:
            padding = "mirror"
        elif padding in ("zeros", "fill"):
            padding = "constant"
        if not grid:
            maps = maps.contiguous()
        self.dtype = coordinate_dtype(image, maps)
        self.dims, self.batch, self.channels = dims, batch, channels
        self.image, self.maps, self.taps = image, maps, TAPS[kernel]
        self.fill = image if fill is None else fill.contiguous()  # unused if None
        self.shares = (batch // images, batch // maps.shape[0], batch // fills)
        self.map_strides: tuple[int, ...] = (maps.stride(0), 0, 0, 0, 0)
        if grid:
            s = maps.stride()
            self.map_strides = s if dims == 3 else (s[0], 0, *s[1:])
        self.options = {
            "KERNEL": kernel,
            "PADDING": padding,
            "TAPS": self.taps,
            "MAP": "grid" if grid else "projective" if square else "affine",
            "DIMS": dims,
            "ALIGN": int(align_corners),
            "FILL": fill is not None,
        }

    def sizes(self, cut: Blocks) -> tuple[int, ...]:
        """The kernels' arguments from D on."""
        deep = () if self.dims == 3 else (1,)
        spatial = (*deep, *self.image.shape[2:], *deep, *self.size)
        return (*spatial, self.channels, cut.chunk, cut.chunks, *self.shares)

    def cut(self, most: int, whole: bool = False) -> Blocks:
        """For four warps, each thread with ``most`` reads in flight: with many more its registers
        would not hold them, with many fewer it would wait."""
        elements = 128 * max(1, min(4, most // self.taps**self.dims))
        along = self.image.stride(1) == 1 and self.channels > 1
        return blocks(self.batch, self.channels, self.size, elements, along, whole)

    def run(self, kernel: Any, cut: Blocks, tensors: Sequence[Tensor], *args: Any) -> None:
        """Launch; ``tensors`` are the large ones."""
        import triton.language as tl

        wide = any(_extent(t) >= 2**31 for t in tensors)
        device = self.image.device
        with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
            kernel[(cut.programs,)](
                *args,
                **self.options,
                COORD=tl.float64 if self.dtype == torch.float64 else tl.float32,
                INDEX=tl.int64 if wide else tl.int32,
                TILE_H=cut.tile_h,
                TILE_W=cut.tile_w,
                BLOCK_C=cut.block_c,
                num_warps=cut.warps,
                enable_fp_fusion=True,
            )


def forward(
    image: Tensor,
    maps: Tensor,
    size: Sequence[int],
    kernel: str,
    padding: str,
    fill: Tensor | None,
    align_corners: bool,
    *,
    grid: bool,
) -> Tensor:
    """The warped image ``(B, C, *size)``, laid out as the image is.

    Args:
        image: ``(B, C, H, W)`` or ``(B, C, D, H, W)``, of any strides.
        maps: matrices ``(B', d, d + 1)`` or, in 2-D, ``(B', 3, 3)``; grids ``(B', *size, d)`` with
            ``grid=True``. Where there are fewer images, maps or fill values than outputs,
            consecutive outputs share one.
        fill: ``(F, C, 1)`` or None for zeros.
    """
    from spatial_transformer.kernels.triton.forward import forward_kernel

    call = _Call(image, maps, size, kernel, padding, fill, align_corners, grid)
    shape = (call.batch, call.channels, *call.size)
    out = torch.empty(shape, dtype=image.dtype, device=image.device, memory_format=_layout(image))
    cut = call.cut(16)
    large = (image, call.maps, out)
    call.run(
        forward_kernel,
        cut,
        large,
        *(image, call.maps, call.fill, out),
        *(*_strides(image, call.dims), *call.map_strides, *_strides(out, call.dims)),
        *call.sizes(cut),
    )
    return out


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
    """The gradients to image and maps, None where not wanted; ``grad`` is the output's.

    The gradient to the maps is the same bits from run to run. That to the image is, under
    ``torch.use_deterministic_algorithms(True)``, where it is added up in whole numbers of
    2^-(60 - log2 n) of its image's largest gradient, n being the output pixels that share the
    image. That costs a pass over ``grad`` and twice the memory traffic (eight bytes a pixel for
    four), and where a gradient is not finite makes all of that image's NaN.
    """
    from spatial_transformer.kernels.triton.backward import backward_kernel

    call = _Call(image, maps, grad.shape[2:], kernel, padding, fill, align_corners, grid)
    no_slope = kernel == "nearest" and maps_too
    to_maps: Tensor | None = torch.zeros_like(maps) if no_slope else None
    if no_slope:
        maps_too = False
    if not image_too and not maps_too:
        return None, to_maps
    exact = image_too and torch.are_deterministic_algorithms_enabled()
    total, units = image, image  # unused
    if image_too:
        dtype = torch.int64 if exact else call.dtype
        total = torch.zeros_like(image, dtype=dtype)
        if total.stride() != image.stride():  # of overlapping pixels, say of an expanded image
            call.image = image = image.contiguous()
            total = torch.zeros_like(image, dtype=dtype)
    cut = call.cut(8, whole=maps_too and grid)
    if exact:
        units = _units(grad, image.shape[0])
    parts = image  # unused
    if maps_too:
        # one grid an output, or one matrix a program; those that share a map are neighbours
        each = (call.batch if grid else cut.programs) // maps.shape[0]
        shape = (maps.shape[0], each, *maps.shape[1:])
        parts = torch.empty(shape, dtype=call.dtype, device=image.device)
    large = (image, call.maps, grad, total, parts)
    call.options |= {"IMAGE_TOO": image_too, "MAPS_TOO": maps_too, "EXACT": exact}
    call.run(
        backward_kernel,
        cut,
        large,
        *(image, call.maps, call.fill, grad, total, parts, units),
        *(*_strides(image, call.dims), *call.map_strides, *_strides(grad, call.dims)),
        *call.sizes(cut),
    )
    if maps_too:
        # a sum along an axis has a fixed order
        to_maps = (parts.sum(dim=1) if parts.shape[1] > 1 else parts[:, 0]).to(maps.dtype)
    if not image_too:
        return None, to_maps
    if exact:
        total = total / units.reshape(-1, *[1] * (image.dim() - 1))
    return total.to(image.dtype), to_maps


def _units(grad: Tensor, images: int) -> Tensor:
    """Per image, how many units make 1: about a power of 2, so that no sum of weighted gradients
    leaves 63 bits. float64, ``(images,)``; NaN where a gradient is not finite."""
    each = grad.unflatten(0, (images, -1))
    largest = torch.linalg.vector_norm(each, torch.inf, dim=tuple(range(1, each.dim()))).double()
    count = grad.numel() // (images * grad.shape[1])
    # a pixel's weights add up to at most 2.6 (3-D bicubic) in absolute value: two bits
    room = 62 - 2 - (count - 1).bit_length()
    units = torch.exp2(room - torch.frexp(largest).exponent.clamp(min=-900).double())
    return torch.where(torch.isfinite(largest), units, torch.nan)
