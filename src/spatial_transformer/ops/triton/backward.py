# mypy: allow-untyped-defs
"""Equations (6) and (7): the gradients to the image and to the maps, either or both in one pass.

The gradient to the image is accumulated with atomics: floating-point ones, whose order and so
rounding varies, or, to be the same bits from run to run, integer ones in a fixed unit, whose order
does not matter. The maps' gradient needs none: every program stores its part, which are then
summed.
"""

import triton
import triton.language as tl

from spatial_transformer.ops.triton.coordinates import place, source, store_map_gradient
from spatial_transformer.ops.triton.forward import SIZES, read
from spatial_transformer.ops.triton.taps import axis_base, slope, tap, weight


@triton.jit
def add(to, value, mask, units, EXACT: tl.constexpr):
    """Add to memory atomically; with EXACT rounded to whole units, ``units`` of which make 1."""
    if EXACT:
        whole = tl.floor(value.to(tl.float64) * units + 0.5)
        tl.atomic_add(to, whole.to(tl.int64), mask=mask, sem="relaxed")
    else:
        tl.atomic_add(to, value, mask=mask, sem="relaxed")


@triton.jit(do_not_specialize=SIZES)
def backward_kernel(
    image, maps, fill, grad, grad_image, grad_maps, units,
    image_b, image_c, image_z, image_y, image_x,
    maps_b, maps_z, maps_y, maps_x, maps_k,
    grad_b, grad_c, grad_z, grad_y, grad_x,
    D, H, W, OD, OH, OW, C, BLOCKS, CHUNKS, images_for, maps_for, fills_for,
    KERNEL: tl.constexpr, PADDING: tl.constexpr, TAPS: tl.constexpr, MAP: tl.constexpr,
    DIMS: tl.constexpr, ALIGN: tl.constexpr, FILL: tl.constexpr, COORD: tl.constexpr,
    VALUE: tl.constexpr, SINGLE: tl.constexpr,
    INDEX: tl.constexpr, TILE_H: tl.constexpr, TILE_W: tl.constexpr, BLOCK_C: tl.constexpr,
    ALONG_C: tl.constexpr,
    NEEDS_IMAGE_GRAD: tl.constexpr, NEEDS_MAP_GRAD: tl.constexpr, EXACT: tl.constexpr,
):  # fmt: skip
    """Equations (6) and (7) for one tile of one output and a chunk of its channels."""
    b, chunk, z, y, x, inside = place(OD, OH, OW, CHUNKS, DIMS, TILE_H, TILE_W)
    one_of = (b // images_for).to(tl.int64)
    image += one_of * image_b
    grad_image += one_of * image_b  # its strides are the image's
    maps += (b // maps_for).to(tl.int64) * maps_b
    fill += (b // fills_for) * C
    grad += b.to(tl.int64) * grad_b
    scale = 1.0
    if EXACT:
        scale = tl.load(units + one_of)
    w, v, u, nw, nv, nu, known, pv, pu, inverse = source(
        maps, z, y, x, inside, maps_z, maps_y, maps_x, maps_k, D, H, W, OD, OH, OW,
        MAP, DIMS, ALIGN, COORD, INDEX,
    )  # fmt: skip
    base_x, tx = axis_base(u, nu, W, KERNEL, PADDING, MAP, ALIGN, SINGLE)
    base_y, ty = axis_base(v, nv, H, KERNEL, PADDING, MAP, ALIGN, SINGLE)
    base_z, tz = base_x, tx
    if DIMS == 3:
        base_z, tz = axis_base(w, nw, D, KERNEL, PADDING, MAP, ALIGN, SINGLE)
    tx, ty, tz = tx.to(VALUE), ty.to(VALUE), tz.to(VALUE)
    given = z.to(INDEX) * grad_z + y.to(INDEX) * grad_y + x.to(INDEX) * grad_x
    if not ALONG_C:
        # No vectors of pixels: they would be laid out otherwise than the coordinates, and every
        # index would change threads.
        given = tl.multiple_of(given, [1, 1])
    gx, gy, gz = tx * 0, tx * 0, tx * 0
    end = tl.minimum((chunk + 1) * BLOCKS, tl.cdiv(C, BLOCK_C))
    for block in range(chunk * BLOCKS, end):
        c = block * BLOCK_C + tl.arange(0, BLOCK_C)
        lanes = c < C
        channels = c.to(INDEX) * image_c
        outside = tl.zeros((BLOCK_C,), VALUE)
        if FILL:
            outside = tl.load(fill + c, mask=lanes, other=0.0).to(VALUE)
        # pixels that are not known give and get nothing
        g = read(grad, given, known, c.to(INDEX) * grad_c, lanes, outside, VALUE, False)
        dx = tl.zeros((TILE_H * TILE_W, BLOCK_C), VALUE)
        dy = tl.zeros((TILE_H * TILE_W, BLOCK_C), VALUE)
        dz = tl.zeros((TILE_H * TILE_W, BLOCK_C), VALUE)
        for kz in tl.static_range(TAPS if DIMS == 3 else 1):
            iz = tl.zeros((TILE_H * TILE_W, 1), tl.int32)
            wz = tl.full((TILE_H * TILE_W, 1), 1.0, VALUE)
            sz = wz
            ok_z = known
            if DIMS == 3:
                iz, on_z = tap(base_z, D, kz, KERNEL, PADDING)
                wz, sz = weight(tz, kz, KERNEL), slope(tz, kz, KERNEL)
                if PADDING == "constant":
                    ok_z = ok_z & on_z
            for ky in tl.static_range(TAPS):
                iy, on_y = tap(base_y, H, ky, KERNEL, PADDING)
                wy, sy = weight(ty, ky, KERNEL), slope(ty, ky, KERNEL)
                ok_y = ok_z
                if PADDING == "constant":
                    ok_y = ok_y & on_y
                level = tl.zeros((TILE_H * TILE_W, BLOCK_C), VALUE)
                steep = tl.zeros((TILE_H * TILE_W, BLOCK_C), VALUE)
                for kx in tl.static_range(TAPS):
                    ix, on_x = tap(base_x, W, kx, KERNEL, PADDING)
                    wx, sx = weight(tx, kx, KERNEL), slope(tx, kx, KERNEL)
                    ok = ok_y
                    if PADDING == "constant":
                        ok = ok & on_x
                    at = iz.to(INDEX) * image_z + iy.to(INDEX) * image_y
                    at += ix.to(INDEX) * image_x
                    if NEEDS_MAP_GRAD:
                        value = read(
                            image, at, ok, channels, lanes, outside,
                            VALUE, FILL and PADDING == "constant",
                        )  # fmt: skip
                        level += value * wx
                        steep += value * sx
                    if NEEDS_IMAGE_GRAD:
                        to = grad_image + (at + channels[None, :])
                        mask = ok & lanes[None, :]
                        add(to, g * (wx * wy * wz), mask, scale, EXACT)
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
            to = grad_maps + b.to(tl.int64) * OD * OH * OW * DIMS
        else:
            entries = 9 if MAP == "projective" else DIMS * (DIMS + 1)
            to = grad_maps + tl.program_id(0).to(tl.int64) * entries
        store_map_gradient(
            to, gz, gy, gx, known, pv, pu, inverse, z, y, x, inside, D, H, W, OD, OH, OW,
            MAP, DIMS, ALIGN, COORD, INDEX,
        )  # fmt: skip
