"""The sampler in plain torch operations: any kernel, any padding, any dimension, any device.

Everything else falls back to it, so it can be differentiated twice, traced, vmapped and compiled:
no in-place writes, no branch on a tensor's values.
"""

import torch
from torch import Tensor

from spatial_transformer.coordinates import (
    coordinate_dtype,
    nearest_pixel,
    shared_batch,
    snap_tolerance,
    to_pixel,
)
from spatial_transformer.samplers.kernel import Kernel
from spatial_transformer.samplers.padding import Edge, edge
from spatial_transformer.sums import spread, total

# one axis: every tap's index (B, T, M), whether it is inside (None: always), and its weight
# (None: 1)
Taps = tuple[Tensor, Tensor | None, Tensor | None]

#: dtype for copying elements, by their size in bytes: not every operator supports every integer
BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def axis_taps(u: Tensor, kernel: Kernel, rule: Edge, made_in: torch.dtype) -> Taps:
    """The taps of pixel coordinates ``u`` (finite) along one axis."""
    tolerance = snap_tolerance(u, rule.n, made_in)
    # half-way points may go to either pixel: only rounding on the image itself matters
    above = tolerance if kernel.shift == 0 else torch.finfo(made_in).eps * rule.n
    base = torch.floor(u.detach())
    # the difference is exact; far out on a periodic image a sum would not be
    base = base + (u.detach() - base >= 1 - kernel.shift - above).to(u.dtype)
    t = u - base
    # a coordinate that rounding alone keeps from a whole pixel is that pixel
    t = t - torch.where(t.detach().abs() <= tolerance, t.detach(), 0)
    pixel = rule.whole(base)
    offsets = torch.arange(kernel.offsets.start, kernel.offsets.stop, device=u.device)
    index, inside = rule.index(pixel.unsqueeze(1) + offsets[:, None])
    return index, inside, torch.stack(kernel.weights(t), dim=1)


def copied_tap(x: Tensor, rule: Edge, align_corners: bool, weighted: bool) -> Taps:
    """The pixel that finite normalised coordinates ``x`` copy along one axis.

    With ``weighted`` it has a weight of 1 that keeps ``x`` in the graph.
    """
    pixel = nearest_pixel(x.detach(), rule.n, align_corners)
    index, inside = rule.index(rule.whole(pixel).unsqueeze(1))
    return index, inside, (0 * x + 1).unsqueeze(1) if weighted else None


def sample_eager(
    image: Tensor,
    grid: Tensor,
    kernel: Kernel,
    padding: str,
    fill: Tensor | None,
    align_corners: bool,
) -> Tensor:
    """Equation (3) for arguments that have been checked.

    Args:
        image: ``(1 or B, C, *spatial)``.
        grid: ``(1 or B, *size, dims)``, normalised, in (x, y[, z]).
        kernel: The interpolation kernel.
        padding: The padding's name.
        fill: ``(1 or B, C, 1)`` in the image's dtype, or None for zero.
        align_corners: Whether -1 and 1 are the corner pixels' centres.

    Returns:
        ``(B, C, *size)`` in the image's dtype.
    """
    dims = grid.shape[-1]
    original = image.shape[2:]
    result = image.dtype
    weighted = image.is_floating_point()  # others are copied bit by bit
    if not weighted:
        image = image.view(BITS[image.itemsize])
        fill = None if fill is None else fill.view(image.dtype)
    margin = kernel.margin(padding)
    image = kernel.prepare(image, padding, fill, align_corners)
    spatial = image.shape[2:]
    batch = shared_batch(image.shape[0], grid.shape[0])
    # coordinates have the grid's precision; weights use the image's dtype if that is wider
    made_in = coordinate_dtype(grid)
    dtype = made_in if kernel.copies else coordinate_dtype(image, grid)
    points = grid.to(dtype).flatten(1, -2)  # (B, M, dims)

    pixels = [
        to_pixel(points[..., k], original[-1 - k], align_corners) + margin for k in range(dims)
    ]
    finite = torch.isfinite(torch.stack(pixels)).all(dim=0)
    edges = [edge(padding, n, kernel.taps, align_corners) for n in reversed(spatial)]
    # a non-finite coordinate must reach neither the index nor, multiplied by zero, the gradient
    if kernel.copies:
        known = [torch.where(finite, points[..., k], 0) for k in range(dims)]
        taps = [
            copied_tap(x, rule, align_corners, weighted)
            for x, rule in zip(known, edges, strict=True)
        ]
    else:
        pixels = [torch.where(finite, u, 0) for u in pixels]
        taps = [axis_taps(u, kernel, rule, made_in) for u, rule in zip(pixels, edges, strict=True)]

    flat = image.flatten(2)
    channels = image.shape[1]
    flat = spread(flat, (batch, *flat.shape[1:]))
    outside = fill if fill is not None else torch.zeros((), dtype=image.dtype, device=image.device)
    level = outside.unsqueeze(-1) if outside.dim() else outside

    def row(base: Tensor | int, inside: Tensor | None) -> Tensor:
        """The taps along x from the pixel ``base`` (B, M) on, all at once: (B, C, M)."""
        index, ok, weight = taps[0]
        index = index if isinstance(base, int) else index + base.unsqueeze(1)
        value = flat.gather(2, index.flatten(1).unsqueeze(1).expand(batch, channels, -1))
        value = value.unflatten(2, index.shape[1:])
        if ok is not None:
            ok = ok if inside is None else ok & inside.unsqueeze(1)
            value = torch.where(ok.unsqueeze(1), value, spread(level, value.shape))
        if weight is not None:
            value = value * spread(weight.unsqueeze(1), value.shape)
        # not a sum, which would lose the sign of zeros
        return value.squeeze(2) if kernel.copies else total(value, 2)

    def weigh(axis: int, base: Tensor | int, inside: Tensor | None) -> Tensor:
        """Sum over the taps of this axis and of those inside it (z over y over x)."""
        if axis == 0:
            return row(base, inside)
        index, ok, weight = taps[axis]
        added = None
        for k in range(index.shape[1]):
            both = inside if ok is None else ok[:, k] if inside is None else inside & ok[:, k]
            # flat index: (z * H + y) * W, so that x is added last
            step = (index[:, k] + base) * spatial[-axis]
            term = weigh(axis - 1, step, both)
            if weight is not None:
                term = term * spread(weight[:, k].unsqueeze(1), term.shape)
            added = term if added is None else added + term
        assert added is not None
        return added

    warped = weigh(dims - 1, 0, None)
    outside = spread(outside.to(warped.dtype), warped.shape)
    warped = torch.where(finite.unsqueeze(1), warped, outside)
    warped = warped.to(result) if weighted else warped.view(result)
    return warped.unflatten(2, grid.shape[1:-1])
