# mypy: allow-untyped-defs
"""Equations (6) and (7): the gradients to the image and to the maps, either or both in one pass.

The gradient to the image is accumulated with atomics: floating-point ones, whose order and so
rounding varies, or, to be the same bits from run to run, integer ones in a fixed unit, whose order
does not matter. The maps' gradient needs none: every program stores its part, which are then
summed.
"""

import triton
import triton.language as tl

from spatial_transformer.ops.triton.coordinates import prologue, store_map_gradient
from spatial_transformer.ops.triton.forward import SIZES, read
from spatial_transformer.ops.triton.taps import slope, tap, weight


@triton.jit
def add(ptr, value, mask, units, EXACT: tl.constexpr):
    """Add to memory atomically; with EXACT rounded to whole units, ``units`` of which make 1."""
    if EXACT:
        rounded = tl.floor(value.to(tl.float64) * units + 0.5)
        tl.atomic_add(ptr, rounded.to(tl.int64), mask=mask, sem="relaxed")
    else:
        tl.atomic_add(ptr, value, mask=mask, sem="relaxed")


@triton.jit(do_not_specialize=SIZES)
def backward_kernel(
    image_ptr, maps_ptr, fill_ptr, grad_ptr, image_grad_ptr, maps_grad_ptr, units_ptr,
    image_stride_b, image_stride_c, image_stride_z, image_stride_y, image_stride_x,
    maps_stride_b, maps_stride_z, maps_stride_y, maps_stride_x, maps_stride_k,
    grad_stride_b, grad_stride_c, grad_stride_z, grad_stride_y, grad_stride_x,
    D, H, W, OD, OH, OW, C, BLOCKS, CHUNKS, images_for, maps_for, fills_for,
    KERNEL: tl.constexpr, PADDING: tl.constexpr, TAPS: tl.constexpr, MAP: tl.constexpr,
    DIMS: tl.constexpr, ALIGN: tl.constexpr, FILL: tl.constexpr, COORD: tl.constexpr,
    VALUE: tl.constexpr, SINGLE: tl.constexpr,
    INDEX: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_W: tl.constexpr, BLOCK_C: tl.constexpr,
    ALONG_C: tl.constexpr,
    NEEDS_IMAGE_GRAD: tl.constexpr, NEEDS_MAP_GRAD: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """Equations (6) and (7) for one tile of one output and a chunk of its channels."""
    (
        b, chunk, z, y, x, pixel_mask, base_z, base_y, base_x, tz, ty, tx, finite, pv, pu, inverse
    ) = prologue(
        maps_ptr, maps_stride_b, maps_stride_z, maps_stride_y, maps_stride_x, maps_stride_k,
        D, H, W, OD, OH, OW, CHUNKS, maps_for,
        KERNEL, PADDING, MAP, DIMS, ALIGN, COORD, VALUE, SINGLE, INDEX, BLOCK_H, BLOCK_W,
    )  # fmt: skip
    image_index = (b // images_for).to(tl.int64)
    image_ptr += image_index * image_stride_b
    image_grad_ptr += image_index * image_stride_b  # its strides are the image's
    fill_ptr += (b // fills_for) * C
    grad_ptr += b.to(tl.int64) * grad_stride_b
    scale = 1.0
    if EXACT:
        scale = tl.load(units_ptr + image_index)
    grad_offset = z.to(INDEX) * grad_stride_z + y.to(INDEX) * grad_stride_y
    grad_offset += x.to(INDEX) * grad_stride_x
    if not ALONG_C:
        # No vectorised pixels: their layout would differ from the coordinates', and every index
        # would move between threads.
        grad_offset = tl.multiple_of(grad_offset, [1, 1])
    gx, gy, gz = tx * 0, tx * 0, tx * 0
    end = tl.minimum((chunk + 1) * BLOCKS, tl.cdiv(C, BLOCK_C))
    for block in range(chunk * BLOCKS, end):
        c = block * BLOCK_C + tl.arange(0, BLOCK_C)
        channel_mask = c < C
        channels = c.to(INDEX) * image_stride_c
        outside = tl.zeros((BLOCK_C,), VALUE)
        if FILL:
            outside = tl.load(fill_ptr + c, mask=channel_mask, other=0.0).to(VALUE)
        # points that are not finite pass no gradient
        g = read(
            grad_ptr, grad_offset, finite, c.to(INDEX) * grad_stride_c, channel_mask, outside,
            VALUE, False,
        )  # fmt: skip
        dx = tl.zeros((BLOCK_H * BLOCK_W, BLOCK_C), VALUE)
        dy = tl.zeros((BLOCK_H * BLOCK_W, BLOCK_C), VALUE)
        dz = tl.zeros((BLOCK_H * BLOCK_W, BLOCK_C), VALUE)
        for kz in tl.static_range(TAPS if DIMS == 3 else 1):
            iz = tl.zeros((BLOCK_H * BLOCK_W, 1), tl.int32)
            wz = tl.full((BLOCK_H * BLOCK_W, 1), 1.0, VALUE)
            sz = wz
            mask_z = finite
            if DIMS == 3:
                iz, on_z = tap(base_z, D, kz, KERNEL, PADDING)
                wz, sz = weight(tz, kz, KERNEL), slope(tz, kz, KERNEL)
                if PADDING == "constant":
                    mask_z = mask_z & on_z
            for ky in tl.static_range(TAPS):
                iy, on_y = tap(base_y, H, ky, KERNEL, PADDING)
                wy, sy = weight(ty, ky, KERNEL), slope(ty, ky, KERNEL)
                mask_y = mask_z
                if PADDING == "constant":
                    mask_y = mask_y & on_y
                level = tl.zeros((BLOCK_H * BLOCK_W, BLOCK_C), VALUE)
                steep = tl.zeros((BLOCK_H * BLOCK_W, BLOCK_C), VALUE)
                for kx in tl.static_range(TAPS):
                    ix, on_x = tap(base_x, W, kx, KERNEL, PADDING)
                    wx, sx = weight(tx, kx, KERNEL), slope(tx, kx, KERNEL)
                    mask = mask_y
                    if PADDING == "constant":
                        mask = mask & on_x
                    offset = iz.to(INDEX) * image_stride_z + iy.to(INDEX) * image_stride_y
                    offset += ix.to(INDEX) * image_stride_x
                    if NEEDS_MAP_GRAD:
                        value = read(
                            image_ptr, offset, mask, channels, channel_mask, outside,
                            VALUE, FILL and PADDING == "constant",
                        )  # fmt: skip
                        level += value * wx
                        steep += value * sx
                    if NEEDS_IMAGE_GRAD:
                        add(
                            image_grad_ptr + (offset + channels[None, :]), g * (wx * wy * wz),
                            mask & channel_mask[None, :], scale, EXACT,
                        )  # fmt: skip
                if NEEDS_MAP_GRAD:
                    dx += steep * (wy * wz)
                    dy += level * (sy * wz)
                    if DIMS == 3:
                        dz += level * (wy * sz)
        if NEEDS_MAP_GRAD:
            gx += tl.sum(g * dx, axis=1)[:, None]
            gy += tl.sum(g * dy, axis=1)[:, None]
            if DIMS == 3:
                gz += tl.sum(g * dz, axis=1)[:, None]
    if NEEDS_MAP_GRAD:
        if MAP == "grid":
            maps_grad_ptr += b.to(tl.int64) * OD * OH * OW * DIMS
        else:
            entries = 9 if MAP == "projective" else DIMS * (DIMS + 1)
            maps_grad_ptr += tl.program_id(0).to(tl.int64) * entries
        store_map_gradient(
            maps_grad_ptr, gz, gy, gx, finite, pv, pu, inverse, z, y, x, pixel_mask,
            D, H, W, OD, OH, OW, MAP, DIMS, ALIGN, COORD, INDEX,
        )  # fmt: skip
