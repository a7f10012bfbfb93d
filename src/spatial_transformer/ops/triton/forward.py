# mypy: allow-untyped-defs
"""Equation (3): the warped image. A program has a tile of one output's pixels and some channels."""

import triton
import triton.language as tl

from spatial_transformer.ops.triton.coordinates import place, source
from spatial_transformer.ops.triton.taps import axis_base, tap, weight

# arguments that a kernel is not compiled anew for
SIZES = (
    *("D", "H", "W", "OD", "OH", "OW", "BLOCKS", "CHUNKS"),
    *("images_for", "maps_for", "fills_for"),
)


@triton.jit
def read(base, pixels, ok, channels, lanes, outside, COORD: tl.constexpr, OUTSIDE: tl.constexpr):
    """Values (P, C) at offsets of pixels and channels; where not ``ok``, 0 or the fill value."""
    at = base + (pixels + channels[None, :])
    value = tl.load(at, mask=ok & lanes[None, :], other=0.0).to(COORD)
    if OUTSIDE:
        value = tl.where(ok, value, outside[None, :])
    return value


@triton.jit(do_not_specialize=SIZES)
def forward_kernel(
    image, maps, fill, out,
    image_b, image_c, image_z, image_y, image_x,
    maps_b, maps_z, maps_y, maps_x, maps_k,
    out_b, out_c, out_z, out_y, out_x,
    D, H, W, OD, OH, OW, C, BLOCKS, CHUNKS, images_for, maps_for, fills_for,
    KERNEL: tl.constexpr, PADDING: tl.constexpr, TAPS: tl.constexpr, MAP: tl.constexpr,
    DIMS: tl.constexpr, ALIGN: tl.constexpr, FILL: tl.constexpr, COORD: tl.constexpr,
    VALUE: tl.constexpr, SINGLE: tl.constexpr,
    INDEX: tl.constexpr, TILE_H: tl.constexpr, TILE_W: tl.constexpr, BLOCK_C: tl.constexpr,
    ALONG_C: tl.constexpr,
):  # fmt: skip
    """Equation (3) for one tile of one output and a chunk of its channels."""
    b, chunk, z, y, x, inside = place(OD, OH, OW, CHUNKS, DIMS, TILE_H, TILE_W)
    image += (b // images_for).to(tl.int64) * image_b
    maps += (b // maps_for).to(tl.int64) * maps_b
    fill += (b // fills_for) * C
    out += b.to(tl.int64) * out_b
    w, v, u, nw, nv, nu, known, _, _, _ = source(
        maps, z, y, x, inside, maps_z, maps_y, maps_x, maps_k, D, H, W, OD, OH, OW,
        MAP, DIMS, ALIGN, COORD, INDEX,
    )  # fmt: skip
    base_x, tx = axis_base(u, nu, W, KERNEL, PADDING, MAP, ALIGN, SINGLE)
    base_y, ty = axis_base(v, nv, H, KERNEL, PADDING, MAP, ALIGN, SINGLE)
    base_z, tz = base_x, tx
    if DIMS == 3:
        base_z, tz = axis_base(w, nw, D, KERNEL, PADDING, MAP, ALIGN, SINGLE)
    tx, ty, tz = tx.to(VALUE), ty.to(VALUE), tz.to(VALUE)
    target = z.to(INDEX) * out_z + y.to(INDEX) * out_y + x.to(INDEX) * out_x
    if not ALONG_C:
        # No vectors of pixels: they would be laid out otherwise than the coordinates, and every
        # index would change threads.
        target = tl.multiple_of(target, [1, 1])
    end = tl.minimum((chunk + 1) * BLOCKS, tl.cdiv(C, BLOCK_C))
    for block in range(chunk * BLOCKS, end):
        c = block * BLOCK_C + tl.arange(0, BLOCK_C)
        lanes = c < C
        channels = c.to(INDEX) * image_c
        outside = tl.zeros((BLOCK_C,), VALUE)
        if FILL:
            outside = tl.load(fill + c, mask=lanes, other=0.0).to(VALUE)
        total = tl.zeros((TILE_H * TILE_W, BLOCK_C), VALUE)
        for kz in tl.static_range(TAPS if DIMS == 3 else 1):
            plane = tl.zeros((TILE_H * TILE_W, 1), INDEX)
            ok_z = known
            if DIMS == 3:
                iz, on_z = tap(base_z, D, kz, KERNEL, PADDING)
                plane = iz.to(INDEX) * image_z
                if PADDING == "constant":
                    ok_z = ok_z & on_z
            for ky in tl.static_range(TAPS):
                iy, on_y = tap(base_y, H, ky, KERNEL, PADDING)
                line = plane + iy.to(INDEX) * image_y
                ok_y = ok_z
                if PADDING == "constant":
                    ok_y = ok_y & on_y
                level = tl.zeros((TILE_H * TILE_W, BLOCK_C), VALUE)
                for kx in tl.static_range(TAPS):
                    ix, on_x = tap(base_x, W, kx, KERNEL, PADDING)
                    ok = ok_y
                    if PADDING == "constant":
                        ok = ok & on_x
                    value = read(
                        image, line + ix.to(INDEX) * image_x, ok, channels, lanes, outside,
                        VALUE, FILL and PADDING == "constant",
                    )  # fmt: skip
                    if TAPS == 1:  # a copy, zeros with their signs
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
            total = tl.where(known, total, outside[None, :])
        tl.store(
            out + (target + (c.to(INDEX) * out_c)[None, :]),
            total.to(out.dtype.element_ty),
            mask=inside & lanes[None, :],
        )
