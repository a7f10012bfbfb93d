# mypy: allow-untyped-defs
"""Equation (3): the warped image. A program has a tile of one output's pixels and some channels."""

import triton
import triton.language as tl

from spatial_transformer.ops.triton.coordinates import prologue
from spatial_transformer.ops.triton.taps import tap, weight

# arguments that do not specialise a kernel
SIZES = (
    *("D", "H", "W", "OD", "OH", "OW", "BLOCKS", "CHUNKS"),
    *("images_for", "maps_for", "fills_for"),
)


@triton.jit
def read(
    ptr, pixels, mask, channels, channel_mask, outside, DTYPE: tl.constexpr, OUTSIDE: tl.constexpr
):  # fmt: skip
    """Values (P, C) at offsets of pixels and channels; where not ``mask``, 0 or the fill value."""
    value_ptr = ptr + (pixels + channels[None, :])
    value = tl.load(value_ptr, mask=mask & channel_mask[None, :], other=0.0).to(DTYPE)
    if OUTSIDE:
        value = tl.where(mask, value, outside[None, :])
    return value


@triton.jit(do_not_specialize=SIZES)
def forward_kernel(
    image_ptr, maps_ptr, fill_ptr, out_ptr,
    image_stride_b, image_stride_c, image_stride_z, image_stride_y, image_stride_x,
    maps_stride_b, maps_stride_z, maps_stride_y, maps_stride_x, maps_stride_k,
    out_stride_b, out_stride_c, out_stride_z, out_stride_y, out_stride_x,
    D, H, W, OD, OH, OW, C, BLOCKS, CHUNKS, images_for, maps_for, fills_for,
    KERNEL: tl.constexpr, PADDING: tl.constexpr, TAPS: tl.constexpr, MAP: tl.constexpr,
    DIMS: tl.constexpr, ALIGN: tl.constexpr, FILL: tl.constexpr, COORD: tl.constexpr,
    VALUE: tl.constexpr, SINGLE: tl.constexpr,
    INDEX: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_W: tl.constexpr, BLOCK_C: tl.constexpr,
    ALONG_C: tl.constexpr,
):  # fmt: skip
    """Equation (3) for one tile of one output and a chunk of its channels."""
    b, chunk, z, y, x, pixel_mask, base_z, base_y, base_x, tz, ty, tx, finite, _, _, _ = prologue(
        maps_ptr, maps_stride_b, maps_stride_z, maps_stride_y, maps_stride_x, maps_stride_k,
        D, H, W, OD, OH, OW, CHUNKS, maps_for,
        KERNEL, PADDING, MAP, DIMS, ALIGN, COORD, VALUE, SINGLE, INDEX, BLOCK_H, BLOCK_W,
    )  # fmt: skip
    image_ptr += (b // images_for).to(tl.int64) * image_stride_b
    fill_ptr += (b // fills_for) * C
    out_ptr += b.to(tl.int64) * out_stride_b
    target = z.to(INDEX) * out_stride_z + y.to(INDEX) * out_stride_y + x.to(INDEX) * out_stride_x
    if not ALONG_C:
        # No vectorised pixels: their layout would differ from the coordinates', and every index
        # would move between threads.
        target = tl.multiple_of(target, [1, 1])
    end = tl.minimum((chunk + 1) * BLOCKS, tl.cdiv(C, BLOCK_C))
    for block in range(chunk * BLOCKS, end):
        c = block * BLOCK_C + tl.arange(0, BLOCK_C)
        channel_mask = c < C
        channels = c.to(INDEX) * image_stride_c
        outside = tl.zeros((BLOCK_C,), VALUE)
        if FILL:
            outside = tl.load(fill_ptr + c, mask=channel_mask, other=0.0).to(VALUE)
        total = tl.zeros((BLOCK_H * BLOCK_W, BLOCK_C), VALUE)
        for kz in tl.static_range(TAPS if DIMS == 3 else 1):
            plane = tl.zeros((BLOCK_H * BLOCK_W, 1), INDEX)
            mask_z = finite
            if DIMS == 3:
                iz, on_z = tap(base_z, D, kz, KERNEL, PADDING)
                plane = iz.to(INDEX) * image_stride_z
                if PADDING == "constant":
                    mask_z = mask_z & on_z
            for ky in tl.static_range(TAPS):
                iy, on_y = tap(base_y, H, ky, KERNEL, PADDING)
                line = plane + iy.to(INDEX) * image_stride_y
                mask_y = mask_z
                if PADDING == "constant":
                    mask_y = mask_y & on_y
                level = tl.zeros((BLOCK_H * BLOCK_W, BLOCK_C), VALUE)
                for kx in tl.static_range(TAPS):
                    ix, on_x = tap(base_x, W, kx, KERNEL, PADDING)
                    mask = mask_y
                    if PADDING == "constant":
                        mask = mask & on_x
                    value = read(
                        image_ptr, line + ix.to(INDEX) * image_stride_x, mask, channels,
                        channel_mask, outside, VALUE, FILL and PADDING == "constant",
                    )  # fmt: skip
                    if TAPS == 1:  # a copy, which keeps the sign of zeros
                        level = value
                    else:
                        level += value * weight(tx, kx, KERNEL)
                if DIMS == 3:
                    both = weight(ty, ky, KERNEL) * weight(tz, kz, KERNEL)
                else:
                    both = weight(ty, ky, KERNEL)
                if TAPS == 1:
                    total = level
                else:
                    total += level * both
        if FILL:
            total = tl.where(finite, total, outside[None, :])
        tl.store(
            out_ptr + (target + (c.to(INDEX) * out_stride_c)[None, :]),
            total.to(out_ptr.dtype.element_ty),
            mask=pixel_mask & channel_mask[None, :],
        )
