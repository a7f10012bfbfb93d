# mypy: allow-untyped-defs
"""Where output pixels read, in registers: from a matrix, or from an explicit grid.

The arithmetic is that of ``ops/cpu/taps.inc.h``. A matrix is expressed in pixels about the output's
centre: ratios of equal sizes are exactly 1 and offsets from the centre are whole and half pixels,
so the identity gives whole pixels exactly, whether or not products and sums are contracted.
"""

import triton
import triton.language as tl


@triton.jit
def place(
    OD, OH, OW, CHUNKS, DIMS: tl.constexpr, TILE_H: tl.constexpr, TILE_W: tl.constexpr
):  # fmt: skip
    """This program's output, its chunk of channels, and its tile of pixels.

    Pixels are (P, 1) throughout: Triton 3.6 may fail to lay out (P,) next to (P, C).
    """
    columns = tl.cdiv(OW, TILE_W)
    rows = tl.cdiv(OH, TILE_H)
    rest = tl.program_id(0)
    tiles = rows * columns
    if DIMS == 3:
        tiles = tiles * OD
    b = rest // (tiles * CHUNKS)
    part = rest - b * (tiles * CHUNKS)
    chunk = part // tiles
    rest = part - chunk * tiles
    z = rest // (rows * columns)  # 0 in 2-D
    rest = rest - z * (rows * columns)
    row = rest // columns
    # a tile of the plane, so that what neighbours read is near, however it is turned
    p = tl.arange(0, TILE_H * TILE_W)[:, None]
    y = row * TILE_H + p // TILE_W
    x = (rest - row * columns) * TILE_W + p % TILE_W
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
    matrix, half, origin, across, down, deep, over_d, over_h, over_w,
    R: tl.constexpr, DIMS: tl.constexpr,
):  # fmt: skip
    """Row R of the matrix, times ``half``, at points that are offsets from the output's centre."""
    at = matrix + R * (DIMS + 1)
    total = tl.load(at + DIMS).to(half.dtype) * half + origin
    if DIMS == 3:
        total += tl.load(at + 2).to(half.dtype) * quotient(half, over_d) * deep
    total += tl.load(at + 1).to(half.dtype) * quotient(half, over_h) * down
    return tl.load(at).to(half.dtype) * quotient(half, over_w) * across + total


@triton.jit
def add_up(v):
    """The sum of (P, 1), a number."""
    return tl.sum(tl.sum(v, axis=1), axis=0)


@triton.jit
def store_row(
    parts, g, half, across, down, deep, over_d, over_h, over_w,
    R: tl.constexpr, DIMS: tl.constexpr,
):  # fmt: skip
    """The transpose of ``row``: this program's part of the gradient to row R."""
    at = parts + R * (DIMS + 1)
    total = add_up(g)
    tl.store(at + DIMS, total * half)
    if DIMS == 3:
        tl.store(at + 2, total * deep * quotient(half, over_d))
    tl.store(at + 1, add_up(g * down) * quotient(half, over_h))
    tl.store(at, add_up(g * across) * quotient(half, over_w))


@triton.jit
def source(
    maps, z, y, x, inside, stride_z, stride_y, stride_x, stride_k, D, H, W, OD, OH, OW,
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
    gw, gv, gu = across, across, across  # unused but of grids
    if DIMS == 3:
        half_d = half_extent(D, ALIGN, COORD)
        middle_d = (D - 1).to(COORD) * 0.5
        over_d = output_extent(OD, ALIGN, COORD)
        deep = from_centre(z, OD, COORD)
    if MAP == "grid":
        at = maps + y.to(INDEX) * stride_y + x.to(INDEX) * stride_x
        if DIMS == 3:
            at += z.to(INDEX) * stride_z
            gw = tl.load(at + 2 * stride_k, mask=inside, other=0.0).to(COORD)
            w = gw * half_d + middle_d
        gu = tl.load(at, mask=inside, other=0.0).to(COORD)
        gv = tl.load(at + stride_k, mask=inside, other=0.0).to(COORD)
        u = gu * half_w + middle_w
        v = gv * half_h + middle_h
        pv, pu, inverse = v, u, u
        known = inside
    elif MAP == "affine":
        u = row(maps, half_w, middle_w, across, down, deep, over_d, over_h, over_w, 0, DIMS)
        v = row(maps, half_h, middle_h, across, down, deep, over_d, over_h, over_w, 1, DIMS)
        if DIMS == 3:
            w = row(maps, half_d, middle_d, across, down, deep, over_d, over_h, over_w, 2, DIMS)
        pv, pu, inverse = v, u, u
        known = inside
    else:
        none = half_w * 0
        u = row(maps, half_w, none, across, down, deep, over_d, over_h, over_w, 0, DIMS)
        v = row(maps, half_h, none, across, down, deep, over_d, over_h, over_w, 1, DIMS)
        depth = row(maps, none + 1, none, across, down, deep, over_d, over_h, over_w, 2, DIMS)
        # at or behind the horizon: infinitely far, as transforms.matrix.project has it
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
        known = inside & front
    # a comparison with NaN is false
    known = known & (tl.abs(u) < float("inf")) & (tl.abs(v) < float("inf"))
    if DIMS == 3:
        known = known & (tl.abs(w) < float("inf"))
        w = tl.where(known, w, 0.0)
    u = tl.where(known, u, 0.0)
    v = tl.where(known, v, 0.0)
    return w, v, u, gw, gv, gu, known, pv, pu, inverse


@triton.jit
def store_map_gradient(
    to, gw, gv, gu, known, pv, pu, inverse, z, y, x, inside, D, H, W, OD, OH, OW,
    MAP: tl.constexpr, DIMS: tl.constexpr, ALIGN: tl.constexpr,
    COORD: tl.constexpr, INDEX: tl.constexpr,
):  # fmt: skip
    """From dL/d(w, v, u) to the gradient of the grid, or this program's part of the matrix's.

    ``maps_grad_ptr`` points to this output's grid ``(*size, d)``, or to this program's matrix.
    """
    half_w = half_extent(W, ALIGN, COORD)
    half_h = half_extent(H, ALIGN, COORD)
    gu = tl.where(known, gu, 0.0)
    gv = tl.where(known, gv, 0.0)
    half_d = half_w
    if DIMS == 3:
        half_d = half_extent(D, ALIGN, COORD)
        gw = tl.where(known, gw, 0.0)
    if MAP == "grid":
        at = to + ((z.to(INDEX) * OH + y) * OW + x) * DIMS
        tl.store(at, gu * half_w, mask=inside)
        tl.store(at + 1, gv * half_h, mask=inside)
        if DIMS == 3:
            tl.store(at + 2, gw * half_d, mask=inside)
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
            inverse = tl.where(known, inverse, 0.0)
            gu = gu * inverse
            gv = gv * inverse
            depth = -(gu * tl.where(known, pu, 0.0) + gv * tl.where(known, pv, 0.0))
            one = half_w * 0 + 1
            store_row(to, depth, one, across, down, deep, over_d, over_h, over_w, 2, DIMS)
        store_row(to, gu, half_w, across, down, deep, over_d, over_h, over_w, 0, DIMS)
        store_row(to, gv, half_h, across, down, deep, over_d, over_h, over_w, 1, DIMS)
        if DIMS == 3:
            store_row(to, gw, half_d, across, down, deep, over_d, over_h, over_w, 2, DIMS)
