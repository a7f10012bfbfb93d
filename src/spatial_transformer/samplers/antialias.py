"""Antialiasing: every output pixel is the mean over its footprint on the input.

An output pixel is a cell of the output's grid; the grid's Jacobian maps it to a parallelogram on
the input, its footprint. The pixel's value is the mean over the footprint, taken at n_x by n_y
points of the cell, as many as the footprint is pixels long. At a reduction by a whole number (up to
``MOST``) this is exact area averaging; where nothing is reduced it is the plain sampler. It is
differentiable in the grid, the Jacobian included.
"""

import math
from collections.abc import Callable, Sequence
from itertools import product

import torch
from torch import Tensor

from spatial_transformer.coordinates import half_extent
from spatial_transformer.errors import ExportError, OptionError
from spatial_transformer.ops.torch_internals import is_batched
from spatial_transformer.samplers.check import is_exporting

#: points an axis at most: a footprint of more pixels is averaged more coarsely
MOST = 16


def footprints(grid: Tensor) -> list[Tensor]:
    """How far one step along each axis of the output moves on the input.

    Central differences; one-sided ones next to an edge or to a point that is not finite. Along an
    axis of one pixel the step is unknown and taken as the whole image's width.

    Args:
        grid: ``(B, *size, dims)``, normalised.

    Returns:
        ``dims`` tensors ``(B, *size, dims)``, normalised, the output's first axis first.
    """
    dims = grid.shape[-1]
    steps = []
    for axis in range(1, dims + 1):
        n = grid.shape[axis]
        if n == 1:
            width = torch.zeros_like(grid)
            width[..., dims - axis] = 2
            steps.append(width)
            continue
        difference = grid.narrow(axis, 1, n - 1) - grid.narrow(axis, 0, n - 1)
        known = torch.isfinite(difference).all(dim=-1, keepdim=True)
        difference = torch.where(known, difference, 0)
        neighbours = _both_sides(known.to(grid.dtype), axis)
        steps.append(_both_sides(difference, axis) / neighbours.clamp_min(1))
    return steps


def _both_sides(between: Tensor, axis: int) -> Tensor:
    """Of n - 1 values between n points: at each point, the sum of those on its two sides."""
    none = torch.zeros_like(between.narrow(axis, 0, 1))
    return torch.cat([between, none], dim=axis) + torch.cat([none, between], dim=axis)


def point_counts(steps: Sequence[Tensor], spatial: Sequence[int], align_corners: bool) -> Tensor:
    """How many points each axis of the output's cells needs: the longest footprint in pixels.

    Returns:
        ``(B, dims)``, int64, from 1 to ``MOST``.

    Raises:
        OptionError: If the grid's values are not available (vmap, meta tensors).
        ExportError: If a graph is being exported, which cannot depend on the grid's values.
    """
    hidden = steps[0].is_meta or is_batched(steps[0])
    if hidden or is_exporting():
        who = "vmap and meta tensors do not show" if hidden else "an exported graph cannot know"
        raise (OptionError if hidden else ExportError)(
            f"antialias=True takes as many points as the values of the grid ask for, which {who}: "
            "give a number of points, such as antialias=4"
        )
    half = steps[0].new_tensor([half_extent(n, align_corners) for n in reversed(spatial)])
    lengths = [(step.detach() * half).norm(dim=-1).flatten(1).amax(dim=1) for step in steps]
    # a rounding error above a whole number does not need another point
    return torch.stack(lengths, dim=1).sub(1e-3).ceil().clamp(1, MOST).long()


def check_points(points: object) -> int:
    """Check a number of antialiasing points for an axis.

    Raises:
        OptionError: If it is not an int from 1 to ``MOST``.
    """
    if not isinstance(points, int) or not 1 <= points <= MOST:
        raise OptionError(
            f"antialias must be True, False or a number of points from 1 to {MOST}, got {points!r}"
        )
    return points


def sample_antialiased(
    image: Tensor,
    grid: Tensor,
    steps: Sequence[Tensor],
    align_corners: bool,
    points: int | None,
    fill: Tensor | None,
    sample: Callable[[Tensor, Tensor, Tensor | None], Tensor],
) -> Tensor:
    """The mean of ``sample(image, grid + ..., fill)`` over the footprints.

    Args:
        image: ``(1 or B, C, *spatial)``.
        grid: ``(B, *size, dims)``, normalised.
        steps: As returned by ``footprints``.
        align_corners: Whether -1 and 1 are the corner pixels' centres.
        points: Points an axis; None for as many as the longest footprint of each image needs (which
            reads the grid's values: under ``torch.compile`` give a number).
        fill: ``(1 or B, C, 1)`` or None.
        sample: A sampler of (image, grid, fill).

    Returns:
        ``(B, C, *size)``.

    Raises:
        OptionError: If ``points`` is None and the grid's values are not available.
        ExportError: If ``points`` is None and a graph is being exported.
    """
    if points is not None:
        return _mean(image, grid, steps, [points] * len(steps), fill, sample)
    counts = point_counts(steps, image.shape[2:], align_corners)
    different, group = counts.unique(dim=0, return_inverse=True)
    if len(different) == 1:
        return _mean(image, grid, steps, different[0].tolist(), fill, sample)
    # what one image needs must not blur another
    parts, order = [], []
    for k, n in enumerate(different.tolist()):
        (these,) = torch.where(group == k)
        own = image if len(image) == 1 else image[these]
        level = fill if fill is None or len(fill) == 1 else fill[these]
        parts.append(_mean(own, grid[these], [s[these] for s in steps], n, level, sample))
        order.append(these)
    return torch.cat(parts)[torch.cat(order).argsort()]


def _mean(
    image: Tensor,
    grid: Tensor,
    steps: Sequence[Tensor],
    counts: Sequence[int],
    fill: Tensor | None,
    sample: Callable[[Tensor, Tensor, Tensor | None], Tensor],
) -> Tensor:
    """The mean over ``counts`` points along each axis of the output's cells."""
    total = None
    for index in product(*(range(n) for n in counts)):
        moved = grid
        for k, n, step in zip(index, counts, steps, strict=True):
            if n > 1:
                moved = moved + ((k + 0.5) / n - 0.5) * step
        value = sample(image, moved, fill)
        total = value if total is None else total + value
    assert total is not None
    return total / math.prod(counts)
