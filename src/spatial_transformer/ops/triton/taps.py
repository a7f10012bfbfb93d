# mypy: allow-untyped-defs
"""One axis: the pixels that a coordinate reads, and their weights. Coordinates are (P, 1).

The rules are those of ``samplers/eager.py`` and ``samplers/padding.py``. KERNEL and PADDING are
their names, except that "constant" stands for zeros and fill, and that ``padding_rule`` has turned
reflection about corner centres into "mirror".
"""

import triton
import triton.language as tl

# integers of at least this size are reduced in float64
FAR = tl.constexpr(2.0**30)


@triton.jit
def bring_near(x, period):
    """Integers of any size less whole periods, exactly, if any of them is ``FAR`` away."""
    if x.dtype == tl.float64:
        scale = tl.full((), 2.0**980, tl.float64)
        rounds = 50
    else:
        scale = tl.full((), 2.0**120, tl.float64)
        rounds = 7
    # no rounds where none of the program's coordinates is far
    for _ in range(tl.where(tl.max(tl.max(tl.abs(x), axis=1), axis=0) >= FAR, rounds, 0)):
        # removes at most 45 bits at a time, so that product and remainder are exact
        far = x.to(tl.float64)
        step = period.to(tl.float64) * scale
        times = far / step
        times = tl.where(times < 0, -tl.floor(-times), tl.floor(times))
        x = (far - times * step).to(x.dtype)
        scale = scale * 9.5367431640625e-07  # 2^-20
    return x


@triton.jit
def axis_base(
    u, x, n, KERNEL: tl.constexpr, PADDING: tl.constexpr, MAP: tl.constexpr, ALIGN: tl.constexpr,
    SINGLE: tl.constexpr,
):  # fmt: skip
    """Finite coordinates to the base pixel, mapped near the image, and the fraction.

    ``x`` are the coordinates of a grid, SINGLE whether they were computed in single precision.
    """
    size = n.to(u.dtype)
    base = tl.floor(u)
    if KERNEL == "nearest":  # coordinates.nearest_pixel; they are float64
        half = base + 0.5
        up = u - base >= 0.5
        near = tl.abs(u) < 2097152.0  # coordinates.HALVES
        if MAP == "grid":
            number = (2 * half - (size - 1)) / (size - ALIGN)
            if SINGLE:
                number = number.to(tl.float32).to(tl.float64)
            up = up | ((number == x) & near)
        else:  # within rounding error of the coordinate computed here
            close = tl.maximum(tl.abs(u), size) * 8.881784197001252e-16  # 2^-50
            up = up | ((half - u <= close) & near)
        base = base + up.to(u.dtype)
        t = u * 0
    else:
        # within rounding error of a whole pixel a coordinate is that pixel: eps max(n, |u|)
        tolerance = tl.maximum(tl.abs(u), size) * 1.1920928955078125e-07  # 2^-23
        if u.dtype == tl.float64 and not SINGLE:
            tolerance = tolerance * 1.862645149230957e-09  # 2^-29
        tolerance = tl.minimum(tolerance, 0.25)
        # the difference is exact; far out on a periodic image a sum would not be
        next = (u - base) >= 1.0 - tolerance
        base = base + next.to(u.dtype)
        t = u - base
        t = tl.where(tl.abs(t) <= tolerance, 0.0, t)
    if (PADDING == "constant") or (PADDING == "border"):
        # from 8 pixels off the image on, everything reads the same
        i = tl.minimum(tl.maximum(base, -8.0), size + 8.0).to(tl.int32)
    else:
        period = n
        if PADDING == "reflection":
            period = 2 * n
        elif PADDING == "mirror":
            period = tl.maximum(2 * n - 2, 1)
        i = bring_near(base, period).to(tl.int32) % period
        i = tl.where(i < 0, i + period, i)
    return i, t


@triton.jit
def tap(base, n, K: tl.constexpr, KERNEL: tl.constexpr, PADDING: tl.constexpr):
    """The K-th pixel from the base on: its index, in bounds, and whether it is on the image."""
    i = base + K
    if KERNEL == "bicubic":
        i = i - 1
    inside = (i >= 0) & (i < n)
    if PADDING == "wrap":
        i = tl.where(i < 0, i + n, i)
        i = tl.where(i >= n, i - n, i)
    elif PADDING == "reflection":
        i = tl.where(i < 0, i + 2 * n, i)
        i = tl.where(i >= 2 * n, i - 2 * n, i)
        i = tl.minimum(i, 2 * n - 1 - i)
    elif PADDING == "mirror":
        i = tl.abs(i)
        i = tl.where(i >= 2 * n - 2, i - (2 * n - 2), i)
        i = tl.minimum(i, 2 * n - 2 - i)
    return tl.minimum(tl.maximum(i, 0), n - 1), inside


@triton.jit
def weight(t, K: tl.constexpr, KERNEL: tl.constexpr):
    """The weight of the K-th tap at the fraction t. The cubic is Keys' with a = -0.75."""
    if KERNEL == "nearest":
        w = tl.full(t.shape, 1, t.dtype)
    elif KERNEL == "bilinear":
        w = t if K == 1 else 1.0 - t
    elif K == 0:
        w = ((-0.75 * t + 1.5) * t - 0.75) * t
    elif K == 1:
        w = (1.25 * t - 2.25) * t * t + 1.0
    elif K == 2:
        w = ((-1.25 * t + 1.5) * t + 0.75) * t
    else:
        w = (0.75 * t - 0.75) * t * t
    return w


@triton.jit
def slope(t, K: tl.constexpr, KERNEL: tl.constexpr):
    """The derivative of ``weight``."""
    if KERNEL == "nearest":
        s = tl.full(t.shape, 0.0, t.dtype)
    elif KERNEL == "bilinear":
        s = tl.full(t.shape, 1.0 if K == 1 else -1.0, t.dtype)
    elif K == 0:
        s = (-2.25 * t + 3.0) * t - 0.75
    elif K == 1:
        s = (3.75 * t - 4.5) * t
    elif K == 2:
        s = (-3.75 * t + 3.0) * t + 0.75
    else:
        s = (2.25 * t - 1.5) * t
    return s
