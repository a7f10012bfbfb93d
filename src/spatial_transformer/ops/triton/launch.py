"""Launches of the Triton kernels: shapes, layouts, and how the work is split into programs.

Small warps take a GPU less time than Python takes to launch them: everything that follows from
shapes, layouts and options is computed once and cached. Triton is imported at the first call.
"""

import math
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from spatial_transformer.errors import ShapeError
from spatial_transformer.ops.layout import layout_of
from spatial_transformer.ops.shapes import check_shapes
from spatial_transformer.ops.triton import available as available
from spatial_transformer.ops.triton import unsupported_reason as unsupported_reason
from spatial_transformer.samplers.eager import BITS
from spatial_transformer.samplers.padding import padding_rule

TAPS = {"nearest": 1, "bilinear": 2, "bicubic": 4}
# programs of a launch; with fewer tiles than that, channels are split among programs
ENOUGH = 1024


class TileConfig(NamedTuple):
    """How one launch is split into programs.

    A program has tile_h x tile_w pixels of one output, and loops over ``chunk`` blocks of
    ``block_c`` channels.
    """

    tile_h: int
    tile_w: int
    block_c: int
    chunk: int
    chunks: int
    programs: int
    warps: int


def _power(n: int) -> int:
    """The least power of 2 that is at least n."""
    return 1 << max(n - 1, 0).bit_length()


def _up(n: int, step: int) -> int:
    """How many steps cover n."""
    return -(-n // step)


@lru_cache(maxsize=4096)
def tile_config(
    batch: int,
    channels: int,
    size: tuple[int, ...],
    elements: int,
    along_channels: bool,
    all_channels: bool,
) -> TileConfig:
    """Split a launch into programs of about ``elements`` pixels times channels at a time.

    Args:
        batch: Number of outputs.
        channels: Number of channels.
        size: Size of the output, in pixels.
        elements: Pixels times channels that a program holds at a time.
        along_channels: Whether threads run along channels rather than along pixels.
        all_channels: Whether each program goes through all the channels.
    """
    height, width = size[-2:]
    block_c = 1
    if along_channels:
        # least waste, then the largest; fewer than 16 threads would load too little at a time
        widest = min(_power(channels), 64)
        fits = [1 << k for k in range(widest.bit_length()) if 1 << k >= min(widest, 16)]
        block_c = min(fits, key=lambda n: (_up(channels, n) * n, -n))
    # not 1: Triton 3.6 fails on tiles of one element
    pixels = min(elements // block_c, max(16, _power(height) * _power(width)))

    def waste(tile_w: int) -> tuple[int, int]:
        tile_h = pixels // tile_w
        area = _up(height, tile_h) * tile_h * _up(width, tile_w) * tile_w
        return area, abs(tile_w.bit_length() - (32).bit_length())

    tile_w = min([1 << k for k in range(pixels.bit_length())], key=waste)
    tile_h = pixels // tile_w
    tiles = _up(height, tile_h) * _up(width, tile_w) * math.prod(size[:-2]) * batch
    most = _up(channels, block_c)
    chunk = _up(most, 1 if all_channels else min(most, _up(ENOUGH, tiles)))
    chunks = _up(most, chunk)
    warps = max(1, min(4, pixels * block_c // 32))
    return TileConfig(tile_h, tile_w, block_c, chunk, chunks, tiles * chunks, warps)


class TensorSpec(NamedTuple):
    """Everything about a tensor except its values."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: torch.dtype

    def meta(self) -> Tensor:
        """A tensor like this one on the meta device."""
        return torch.empty_strided(self.shape, self.strides, dtype=self.dtype, device="meta")


def _spec(t: Tensor) -> TensorSpec:
    return TensorSpec(t.shape, t.stride(), t.dtype)


class Plan(NamedTuple):
    """Everything about a call except its tensors."""

    dtype: torch.dtype  # of coordinates and sums
    layout: torch.memory_format  # of the output and the image's gradient
    dense: bool  # whether a new tensor of that layout has the image's strides
    out: tuple[int, ...]
    parts: tuple[int, ...]  # of the gradient to the maps, summed over the second axis
    programs: int
    numbers: tuple[int, ...]
    constants: dict[str, Any]


def _extent(spec: TensorSpec) -> int:
    """The largest offset, in entries, within one item of the batch."""
    return sum((n - 1) * s for n, s in zip(spec.shape[1:], spec.strides[1:], strict=True))


def _spread(strides: tuple[int, ...], batch_axes: int) -> tuple[int, ...]:
    """Strides with one for z, which is 0 in 2-D."""
    return strides if len(strides) == 5 else (*strides[:batch_axes], 0, *strides[batch_axes:])


@lru_cache(maxsize=1024)
def plan(
    image: TensorSpec,
    maps: TensorSpec,
    grad: TensorSpec | None,
    fill: tuple[int, ...] | None,
    size: tuple[int, ...],
    kernel: str,
    padding: str,
    align_corners: bool,
    grid: bool,
    wanted: tuple[bool, bool, bool] | None,
) -> Plan:
    """The plan of a forward call or, with ``grad`` and ``wanted``, of a backward one.

    Args:
        image: The image.
        maps: The matrices or grids.
        grad: The output's gradient; None for a forward call.
        fill: Shape of the fill values, or None.
        size: Size of the output, in pixels.
        kernel: The interpolation kernel's name.
        padding: The padding's name.
        align_corners: Whether -1 and 1 are the corner pixels' centres.
        grid: Whether ``maps`` are grids.
        wanted: Whether the gradients to image and maps are wanted, and whether the first is to be
            exact; None for a forward call.

    Raises:
        ShapeError: If the shapes do not fit together, or ``grad`` is not the output's shape.
    """
    import triton.language as tl

    check_shapes(image.shape, maps.shape, fill, size, grid)
    dims = len(image.shape) - 2
    images, channels = image.shape[:2]
    batch = max(images, maps.shape[0])
    fills = fill[0] if fill else 1
    padding = padding_rule(padding, align_corners)
    if padding in ("zeros", "fill"):
        padding = "constant"
    copies = kernel == "nearest"
    # nearest copies values; which ones is decided in float64
    double = torch.float64 in (image.dtype, image.dtype if copies else maps.dtype)
    integers = tl.int64 if not image.dtype.is_floating_point else None
    like, taps = image.meta(), TAPS[kernel]
    layout = layout_of(like)
    out = torch.empty((batch, channels, *size), device="meta", memory_format=layout)
    if grad and tuple(grad.shape) != tuple(out.shape):
        raise ShapeError(f"grad has the shape {tuple(grad.shape)}, the output {tuple(out.shape)}")
    # reads that a thread has in flight, limited by its registers
    elements = 128 * max(1, min(4, (8 if grad else 16) // taps**dims))
    along = image.strides[1] == 1 and channels > 1
    # a grid's gradient has no sum over programs
    all_channels = grid and wanted is not None and wanted[1]
    cut = tile_config(batch, channels, size, elements, along, all_channels)
    # the maps' parts: one grid an output, or one matrix a program; shared ones are adjacent
    parts = (maps.shape[0], (batch if grid else cut.programs) // maps.shape[0], *maps.shape[1:])
    large = [image, maps, grad or _spec(out)]
    depth_axis = () if dims == 3 else (1,)
    constants = {
        "KERNEL": kernel,
        "PADDING": padding,
        "TAPS": taps,
        "MAP": "grid" if grid else "projective" if tuple(maps.shape[1:]) == (3, 3) else "affine",
        "DIMS": dims,
        "ALIGN": int(align_corners),
        "FILL": fill is not None,
        "COORD": tl.float64 if double or copies else tl.float32,
        "VALUE": integers or (tl.float64 if double else tl.float32),
        "SINGLE": int(grid and maps.dtype is not torch.float64),
        "INDEX": tl.int64 if any(_extent(f) >= 2**31 for f in large) else tl.int32,
        "BLOCK_H": cut.tile_h,
        "BLOCK_W": cut.tile_w,
        "BLOCK_C": cut.block_c,
        "ALONG_C": along,
        "num_warps": cut.warps,
        "enable_fp_fusion": True,
    }
    if wanted is not None:
        constants |= zip(("NEEDS_IMAGE_GRAD", "NEEDS_MAP_GRAD", "EXACT"), wanted, strict=True)
    return Plan(
        dtype=torch.float64 if double else torch.float32,
        layout=layout,
        dense=torch.empty_like(like, memory_format=layout).stride() == tuple(image.strides),
        out=tuple(out.shape),
        parts=parts,
        programs=cut.programs,
        numbers=(
            *_spread(image.strides, 2),
            *(_spread(maps.strides, 1) if grid else (maps.strides[0], 0, 0, 0, 0)),
            *_spread(grad.strides if grad else out.stride(), 2),
            *(*depth_axis, *image.shape[2:], *depth_axis, *size, channels, cut.chunk, cut.chunks),
            *(batch // images, batch // maps.shape[0], batch // fills),
        ),
        constants=constants,
    )


def _on(device: torch.device) -> AbstractContextManager[object]:
    """A context in which ``device`` is the current one, on which Triton launches."""
    if device.type != "cuda" or device.index == torch.cuda.current_device():
        return nullcontext()
    return torch.cuda.device(device)


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
    """The forward call, for any strides; see ``spatial_transformer.ops.backend.Backend``."""
    copied_bits = None if image.is_floating_point() else BITS[image.itemsize]
    stored = image if copied_bits is None else image.view(copied_bits)
    fixed = maps if grid else maps.contiguous()
    fills = None if fill is None else fill.shape
    call = plan(
        _spec(stored), _spec(fixed), None, fills, size, kernel, padding, align_corners, grid, None
    )

    def launch(image: Tensor, maps: Tensor, fill: Tensor | None) -> Tensor:
        from spatial_transformer.ops.triton.forward import forward_kernel

        dtype = image.dtype
        if copied_bits is not None:
            image = image.view(copied_bits)
            fill = None if fill is None else fill.view(copied_bits)
        maps = maps if grid else maps.contiguous()
        out = torch.empty(
            call.out, dtype=image.dtype, device=image.device, memory_format=call.layout
        )
        values = image if fill is None else fill.contiguous()  # unused if None
        with _on(image.device):
            forward_kernel[(call.programs,)](
                image, maps, values, out, *call.numbers, **call.constants
            )
        return out.view(dtype)

    return launch


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
    """The gradients to image and maps; see ``spatial_transformer.ops.backend.Backend``.

    The gradient to the maps is the same bits from run to run. That to the image is, under
    ``torch.use_deterministic_algorithms(True)``: it is then summed in integer multiples of 2^-(60 -
    log2 n) of its image's largest gradient, n being the output pixels that share the image. That
    costs a pass over ``grad`` and twice the memory traffic (eight bytes a pixel instead of four),
    and a gradient that is not finite makes all of that image's NaN.
    """
    from spatial_transformer.ops.triton.backward import backward_kernel

    to_maps: Tensor | None = None
    if needs_map_grad and kernel == "nearest":
        needs_map_grad = False
        to_maps = torch.zeros_like(maps, memory_format=torch.contiguous_format)
    if not needs_image_grad and not needs_map_grad:
        return None, to_maps
    exact = needs_image_grad and torch.are_deterministic_algorithms_enabled()
    fixed = maps if grid else maps.contiguous()
    fills = None if fill is None else fill.shape
    options = (tuple(grad.shape[2:]), kernel, padding, align_corners, grid)
    wanted = (needs_image_grad, needs_map_grad, exact)
    call = plan(_spec(image), _spec(fixed), _spec(grad), fills, *options, wanted)
    if needs_image_grad and not call.dense:  # expanded or transposed, say
        image = image.contiguous()
        call = plan(_spec(image), _spec(fixed), _spec(grad), fills, *options, wanted)
    total = units = parts = image  # placeholders for what is not wanted
    if needs_image_grad:
        sums = torch.int64 if exact else call.dtype
        total = torch.zeros_like(image, dtype=sums, memory_format=call.layout)
    if exact:
        units = _units(grad, image.shape[0])
    if needs_map_grad:
        parts = torch.empty(call.parts, dtype=call.dtype, device=image.device)
    values = image if fill is None else fill.contiguous()
    with _on(image.device):
        backward_kernel[(call.programs,)](
            image, fixed, values, grad, total, parts, units, *call.numbers, **call.constants
        )
    if needs_map_grad:
        # a sum along an axis has a fixed order
        to_maps = (parts.sum(dim=1) if parts.shape[1] > 1 else parts[:, 0]).to(maps.dtype)
    if not needs_image_grad:
        return None, to_maps
    if exact:
        total = total / units.reshape(-1, *[1] * (image.dim() - 1))
    return total.to(image.dtype), to_maps


def _units(grad: Tensor, images: int) -> Tensor:
    """Per image, how many units make 1: float64, ``(images,)``.

    About a power of 2, so that no sum of weighted gradients exceeds 63 bits; NaN where a gradient
    is not finite.
    """
    per_image = grad.unflatten(0, (images, -1))
    largest = torch.linalg.vector_norm(
        per_image, torch.inf, dim=tuple(range(1, per_image.dim()))
    ).double()
    count = grad.numel() // (images * grad.shape[1])
    # a pixel's weights add up to at most 2.6 (3-D bicubic) in absolute value: two bits
    room = 62 - 2 - (count - 1).bit_length()
    units = torch.exp2(room - torch.frexp(largest).exponent.clamp(min=-900).double())
    return torch.where(torch.isfinite(largest), units, torch.nan)
