# mypy: allow-untyped-defs
"""Where output pixels read, in registers: from a matrix, or from an explicit grid.

The arithmetic is that of ``ops/cpu/taps.inc.h``. A matrix is expressed in pixels about the output's
centre: ratios of equal sizes are exactly 1 and offsets from the centre are whole and half pixels,
so the identity gives whole pixels exactly, whether or not products and sums are contracted.
"""

import triton
import triton.language as tl

from spatial_transformer.ops.triton.taps import axis_base


@triton.jit
def place(
    OD, OH, OW, CHUNKS, DIMS: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_W: tl.constexpr
):  # fmt: skip
    """This program's output, its chunk of channels, and its tile of pixels.

    Pixels are (P, 1) throughout: Triton 3.6 may fail to lay out (P,) next to (P, C).
    """
    columns = tl.cdiv(OW, BLOCK_W)
    rows = tl.cdiv(OH, BLOCK_H)
    index = tl.program_id(0)
    tiles = rows * columns
    if DIMS == 3:
        tiles = tiles * OD
    b = index // (tiles * CHUNKS)
    part = index - b * (tiles * CHUNKS)
    chunk = part // tiles
    index = part - chunk * tiles
    z = index // (rows * columns)  # 0 in 2-D
    index = index - z * (rows * columns)
    row = index // columns
    # a 2-D tile, so that neighbours read nearby pixels under any rotation
    p = tl.arange(0, BLOCK_H * BLOCK_W)[:, None]
    y = row * BLOCK_H + p // BLOCK_W
    x = (index - row * columns) * BLOCK_W + p % BLOCK_W
    return b, chunk, z, y, x, (y < OH) & (x < OW)


@triton.jit
def quotient(a, b):
    """The quotient a / b, rounded to nearest as plain float32 division is not: x / x is 1."""
    return tl.div_rn(a, b) if a.dtype == tl.float32 else a / b


@triton.jit
def half_extent(n, ALIGN: tl.constexpr, COORD: tl.constexpr):
    """Pixels per normalised unit. ALIGN is 0 or 1."""
    return (n - ALIGN).to(COORD) * 0.5


@triton.jit
def from_centre(i, n, COORD: tl.constexpr):
    """Pixel i of n as an offset from the centre: a whole number of halves."""
    return (2 * i - (n - 1)).to(COORD) * 0.5


@triton.jit
def output_extent(n, ALIGN: tl.constexpr, COORD: tl.constexpr):
    """``half_extent`` of an output axis, which must not be 0.

    A single pixel with aligned corners is at the centre, whatever its extent.
    """
    return tl.maximum(half_extent(n, ALIGN, COORD), 0.5)


@triton.jit
def row(
    matrix_ptr, half, origin, across, down, deep, over_d, over_h, over_w,
    R: tl.constexpr, DIMS: tl.constexpr,
):  # fmt: skip
    """Row R of the matrix, times ``half``, at points that are offsets from the output's centre."""
    ptr = matrix_ptr + R * (DIMS + 1)
    total = tl.load(ptr + DIMS).to(half.dtype) * half + origin
    if DIMS == 3:
        total += tl.load(ptr + 2).to(half.dtype) * quotient(half, over_d) * deep
    total += tl.load(ptr + 1).to(half.dtype) * quotient(half, over_h) * down
    return tl.load(ptr).to(half.dtype) * quotient(half, over_w) * across + total


@triton.jit
def add_up(v):
    """The sum of (P, 1), a number."""
    return tl.sum(tl.sum(v, axis=1), axis=0)


@triton.jit
def store_row(
    grad_ptr, g, half, across, down, deep, over_d, over_h, over_w,
    R: tl.constexpr, DIMS: tl.constexpr,
):  # fmt: skip
    """The transpose of ``row``: this program's part of the gradient to row R."""
    ptr = grad_ptr + R * (DIMS + 1)
    total = add_up(g)
    tl.store(ptr + DIMS, total * half)
    if DIMS == 3:
        tl.store(ptr + 2, total * deep * quotient(half, over_d))
    tl.store(ptr + 1, add_up(g * down) * quotient(half, over_h))
    tl.store(ptr, add_up(g * across) * quotient(half, over_w))


@triton.jit
def source(
    maps_ptr, z, y, x, pixel_mask, stride_z, stride_y, stride_x, stride_k, D, H, W, OD, OH, OW,
    MAP: tl.constexpr, DIMS: tl.constexpr, ALIGN: tl.constexpr,
    COORD: tl.constexpr, INDEX: tl.constexpr,
):  # fmt: skip
    """Pixel coordinates w, v, u (z, y, x) on the image, 0 where any is not finite.

    Also returns the grid's own coordinates, which points are finite, and for a projective map v and
    u from the centre and 1 / depth.
    """
    half_w = half_extent(W, ALIGN, COORD)
    half_h = half_extent(H, ALIGN, COORD)
    middle_w = (W - 1).to(COORD) * 0.5
    middle_h = (H - 1).to(COORD) * 0.5
    over_w = output_extent(OW, ALIGN, COORD)
    over_h = output_extent(OH, ALIGN, COORD)
    across = from_centre(x, OW, COORD)
    down = from_centre(y, OH, COORD)
    w, half_d, middle_d, over_d, deep = across, half_w, middle_w, over_w, across  # unused in 2-D
    gw, gv, gu = across, across, across  # used for grids only
    if DIMS == 3:
        half_d = half_extent(D, ALIGN, COORD)
        middle_d = (D - 1).to(COORD) * 0.5
        over_d = output_extent(OD, ALIGN, COORD)
        deep = from_centre(z, OD, COORD)
    if MAP == "grid":
        ptr = maps_ptr + y.to(INDEX) * stride_y + x.to(INDEX) * stride_x
        if DIMS == 3:
            ptr += z.to(INDEX) * stride_z
            gw = tl.load(ptr + 2 * stride_k, mask=pixel_mask, other=0.0).to(COORD)
            w = gw * half_d + middle_d
        gu = tl.load(ptr, mask=pixel_mask, other=0.0).to(COORD)
        gv = tl.load(ptr + stride_k, mask=pixel_mask, other=0.0).to(COORD)
        u = gu * half_w + middle_w
        v = gv * half_h + middle_h
        pv, pu, inverse = v, u, u
        finite = pixel_mask
    elif MAP == "affine":
        u = row(maps_ptr, half_w, middle_w, across, down, deep, over_d, over_h, over_w, 0, DIMS)
        v = row(maps_ptr, half_h, middle_h, across, down, deep, over_d, over_h, over_w, 1, DIMS)
        if DIMS == 3:
            w = row(maps_ptr, half_d, middle_d, across, down, deep, over_d, over_h, over_w, 2, DIMS)
        pv, pu, inverse = v, u, u
        finite = pixel_mask
    else:
        none = half_w * 0
        u = row(maps_ptr, half_w, none, across, down, deep, over_d, over_h, over_w, 0, DIMS)
        v = row(maps_ptr, half_h, none, across, down, deep, over_d, over_h, over_w, 1, DIMS)
        depth = row(maps_ptr, none + 1, none, across, down, deep, over_d, over_h, over_w, 2, DIMS)
        # at or behind the horizon: infinitely far, as in transforms.matrix.project
        eps = none + 1.1920928955078125e-07  # float32's
        if COORD == tl.float64:
            eps = eps * 1.862645149230957e-09  # 2^-29
        front = depth > eps
        depth = tl.where(front, depth, 1.0)
        pv = quotient(v, depth)
        pu = quotient(u, depth)
        inverse = quotient(none + 1, depth)
        v = pv + middle_h
        u = pu + middle_w
        finite = pixel_mask & front
    # a comparison with NaN is false
    finite = finite & (tl.abs(u) < float("inf")) & (tl.abs(v) < float("inf"))
    if DIMS == 3:
        finite = finite & (tl.abs(w) < float("inf"))
        w = tl.where(finite, w, 0.0)
    u = tl.where(finite, u, 0.0)
    v = tl.where(finite, v, 0.0)
    return w, v, u, gw, gv, gu, finite, pv, pu, inverse


@triton.jit
def prologue(
    maps_ptr, maps_stride_b, maps_stride_z, maps_stride_y, maps_stride_x, maps_stride_k,
    D, H, W, OD, OH, OW, CHUNKS, maps_for,
    KERNEL: tl.constexpr, PADDING: tl.constexpr, MAP: tl.constexpr, DIMS: tl.constexpr,
    ALIGN: tl.constexpr, COORD: tl.constexpr, VALUE: tl.constexpr, SINGLE: tl.constexpr,
    INDEX: tl.constexpr, BLOCK_H: tl.constexpr, BLOCK_W: tl.constexpr,
):  # fmt: skip
    """This program's tile, and per axis the base pixels and fractions that its pixels read.

    The common start of the forward and the backward kernel: the results of ``place``, those of
    ``axis_base`` for z, y and x (z's are x's in 2-D), and the last four of ``source``.
    """
    b, chunk, z, y, x, pixel_mask = place(OD, OH, OW, CHUNKS, DIMS, BLOCK_H, BLOCK_W)
    maps_ptr += (b // maps_for).to(tl.int64) * maps_stride_b
    w, v, u, gw, gv, gu, finite, pv, pu, inverse = source(
        maps_ptr, z, y, x, pixel_mask, maps_stride_z, maps_stride_y, maps_stride_x, maps_stride_k,
        D, H, W, OD, OH, OW, MAP, DIMS, ALIGN, COORD, INDEX,
    )  # fmt: skip
    base_x, tx = axis_base(u, gu, W, KERNEL, PADDING, MAP, ALIGN, SINGLE)
    base_y, ty = axis_base(v, gv, H, KERNEL, PADDING, MAP, ALIGN, SINGLE)
    base_z, tz = base_x, tx
    if DIMS == 3:
        base_z, tz = axis_base(w, gw, D, KERNEL, PADDING, MAP, ALIGN, SINGLE)
    tx, ty, tz = tx.to(VALUE), ty.to(VALUE), tz.to(VALUE)
    return (
        b,
        chunk,
        z,
        y,
        x,
        pixel_mask,
        base_z,
        base_y,
        base_x,
        tz,
        ty,
        tx,
        finite,
        pv,
        pu,
        inverse,
    )


@triton.jit
def store_map_gradient(
    maps_grad_ptr, gw, gv, gu, finite, pv, pu, inverse, z, y, x, pixel_mask, D, H, W, OD, OH, OW,
    MAP: tl.constexpr, DIMS: tl.constexpr, ALIGN: tl.constexpr,
    COORD: tl.constexpr, INDEX: tl.constexpr,
):  # fmt: skip
    """From dL/d(w, v, u) to the gradient of the grid, or this program's part of the matrix's.

    ``maps_grad_ptr`` points to this output's grid ``(*size, d)``, or to this program's matrix.
    """
    half_w = half_extent(W, ALIGN, COORD)
    half_h = half_extent(H, ALIGN, COORD)
    gu = tl.where(finite, gu, 0.0)
    gv = tl.where(finite, gv, 0.0)
    half_d = half_w
    if DIMS == 3:
        half_d = half_extent(D, ALIGN, COORD)
        gw = tl.where(finite, gw, 0.0)
    if MAP == "grid":
        ptr = maps_grad_ptr + ((z.to(INDEX) * OH + y) * OW + x) * DIMS
        tl.store(ptr, gu * half_w, mask=pixel_mask)
        tl.store(ptr + 1, gv * half_h, mask=pixel_mask)
        if DIMS == 3:
            tl.store(ptr + 2, gw * half_d, mask=pixel_mask)
    else:
        over_w = output_extent(OW, ALIGN, COORD)
        over_h = output_extent(OH, ALIGN, COORD)
        across = from_centre(x, OW, COORD)
        down = from_centre(y, OH, COORD)
        over_d, deep = over_w, across
        if DIMS == 3:
            over_d = output_extent(OD, ALIGN, COORD)
            deep = from_centre(z, OD, COORD)
        if MAP == "projective":
            inverse = tl.where(finite, inverse, 0.0)
            gu = gu * inverse
            gv = gv * inverse
            depth = -(gu * tl.where(finite, pu, 0.0) + gv * tl.where(finite, pv, 0.0))
            one = half_w * 0 + 1
            store_row(
                maps_grad_ptr, depth, one, across, down, deep, over_d, over_h, over_w, 2, DIMS
            )
        store_row(maps_grad_ptr, gu, half_w, across, down, deep, over_d, over_h, over_w, 0, DIMS)
        store_row(maps_grad_ptr, gv, half_h, across, down, deep, over_d, over_h, over_w, 1, DIMS)
        if DIMS == 3:
            store_row(
                maps_grad_ptr, gw, half_d, across, down, deep, over_d, over_h, over_w, 2, DIMS
            )
