"""Antialiasing: every output pixel averages over its footprint on the input.

An output pixel is a cell of the output's grid; the grid's Jacobian maps it to a parallelogram on
the input, its footprint. The pixel's value is the mean over the footprint, taken at n_x by n_y
points of the cell, as many as the footprint is pixels long. At a reduction by a whole number this
is area averaging, exactly; where nothing is reduced it is the plain sampler. It is differentiable
in the grid, the Jacobian included.
"""

import math
from collections.abc import Callable, Sequence
from itertools import product

import torch
from torch import Tensor

from spatial_transformer.coordinates import half_extent
from spatial_transformer.errors import ExportError, OptionError
from spatial_transformer.samplers.check import is_exporting

#: points an axis at most: a footprint of more pixels is averaged more coarsely
MOST = 16


def footprints(grid: Tensor) -> list[Tensor]:
    """What one step along each axis of the output (first axis first) moves on the input:
    ``dims`` tensors ``(B, *size, dims)``, normalised, by central differences.

    Along an axis of one pixel the step is unknown and taken as the whole image's width.
    """
    dims = grid.shape[-1]
    steps = []
    for axis in range(1, dims + 1):
        n = grid.shape[axis]
        if n == 1:
            whole = torch.zeros_like(grid)
            whole[..., dims - axis] = 2
            steps.append(whole)
            continue
        difference = grid.narrow(axis, 1, n - 1) - grid.narrow(axis, 0, n - 1)
        first, last = difference.narrow(axis, 0, 1), difference.narrow(axis, n - 2, 1)
        inner = (difference.narrow(axis, 1, n - 2) + difference.narrow(axis, 0, n - 2)) / 2
        steps.append(torch.cat([first, inner, last], dim=axis))
    return steps


def point_counts(steps: Sequence[Tensor], spatial: Sequence[int], align_corners: bool) -> list[int]:
    """How many points each axis of the output's cells needs: the longest footprint, in pixels."""
    if is_exporting():
        raise ExportError(
            "antialias=True takes as many points as the values of the grid ask for, which an "
            "exported graph cannot: give a number of points, such as antialias=4"
        )
    half = steps[0].new_tensor([half_extent(n, align_corners) for n in reversed(spatial)])
    counts = []
    for step in steps:
        length = (step.detach() * half).norm(dim=-1)
        longest = torch.where(torch.isfinite(length), length, 0).max().item()
        # a rounding error above a whole number does not ask for another point
        counts.append(max(1, min(MOST, math.ceil(longest - 1e-3))))
    return counts


def check_points(points: object) -> int:
    """Raises: OptionError."""
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
    sample: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """The mean of ``sample(image, grid + ...)`` over the footprints.

    Args:
        steps: as of :func:`footprints`.
        points: an axis; None for as many as the longest footprint asks for (which reads the
            grid's values: under ``torch.compile`` give a number).
    """
    if points is None:
        counts = point_counts(steps, image.shape[2:], align_corners)
    else:
        counts = [points] * len(steps)
    total = None
    for index in product(*(range(n) for n in counts)):
        moved = grid
        for k, n, step in zip(index, counts, steps, strict=True):
            if n > 1:
                moved = moved + ((k + 0.5) / n - 0.5) * step
        value = sample(image, moved)
        total = value if total is None else total + value
    assert total is not None
    return total / math.prod(counts)
