"""Penalties that regularise a transformer, each ``(B,)``, to be averaged into a loss."""

import torch
from torch import Tensor

from spatial_transformer.errors import ShapeError
from spatial_transformer.sums import mean
from spatial_transformer.transforms.base import Transform


def identity_penalty(theta: Tensor, transform: Transform) -> Tensor:
    """Mean squared distance of theta from the identity's: ``(B, P)`` -> ``(B,)``."""
    return (theta - transform.identity().to(theta)).square().flatten(1).mean(dim=1)


def out_of_frame(grid: Tensor, margin: float = 0.0) -> Tensor:
    """Mean squared distance of the grid's points outside [-1, 1]: ``(B, ..., d)`` -> ``(B,)``.

    Args:
        grid: ``(B, ..., d)``, normalised.
        margin: How far outside points may lie at no cost, in normalised units.

    Note:
        Source: the Caffe layer's STLoss. Non-finite points count as zero and pass no gradient.
    """
    beyond = (grid.abs() - (1 + margin)).clamp(min=0)
    beyond = torch.where(torch.isfinite(grid), beyond, 0)
    return mean(beyond.square().sum(-1).flatten(1), 1)


def outside_fraction(grid: Tensor) -> Tensor:
    """The fraction of points outside [-1, 1] or not finite: ``(B, ..., d)`` -> ``(B,)``."""
    inside = (grid.abs() <= 1).all(dim=-1)
    return 1 - mean(inside.flatten(1).float(), 1)


def jacobian_determinant(grid: Tensor) -> Tensor:
    """Determinant of dT/dp by central differences over the grid's inner points; 1 for the identity.

    Where it is not positive, the map folds.

    Args:
        grid: ``(B, H, W, 2)`` or ``(B, D, H, W, 3)``, or ``(B, N, ...)``, made with
            ``align_corners=False``.

    Returns:
        ``(B, H - 2, W - 2)``, likewise in 3-D and for ``(B, N, ...)``; NaN next to a point that is
        not finite.

    Raises:
        ShapeError: If it is not a grid of at least 3 pixels an axis.
    """
    determinant, known = _determinant(grid)
    return torch.where(known, determinant, torch.nan)


def jacobian_penalty(grid: Tensor, floor: float = 0.0) -> Tensor:
    """Mean of how far the Jacobian determinant falls below ``floor``: ``(B,)``; 0 without folds.

    Non-finite points count as zero and pass no gradient.

    Args:
        grid: As for ``jacobian_determinant``.
        floor: The least determinant without a penalty.

    Raises:
        ShapeError: If it is not a grid of at least 3 pixels an axis.
    """
    determinant, known = _determinant(grid)
    fold = torch.where(known, (floor - determinant).clamp(min=0), 0)
    return mean(fold.flatten(1), 1)


def bending_energy(grid: Tensor) -> Tensor:
    """Mean squared second derivatives (mixed ones twice) over the inner points: ``(B,)``.

    Zero for affine maps; derivatives are in normalised units. Non-finite points count as zero and
    pass no gradient.

    Args:
        grid: ``(B, H, W, 2)`` or ``(B, D, H, W, 3)``, or ``(B, N, ...)``, made with
            ``align_corners=False``.

    Raises:
        ShapeError: If it is not a grid of at least 3 pixels an axis.
    """
    finite, safe = _known(grid)
    dims = grid.shape[-1]
    total = grid.new_zeros(grid.shape[0])
    for i in range(-dims - 1, -1):
        for j in range(i, -1):
            second, known = safe, finite
            for axis in (i, j):
                n, step = second.shape[axis] - 1, 2 / grid.shape[axis]
                second = (second.narrow(axis, 1, n) - second.narrow(axis, 0, n)) / step
                known = known.narrow(axis, 1, n) & known.narrow(axis, 0, n)
            squares = torch.where(known, second, 0).square().sum(-1)
            total = total + (1 if i == j else 2) * mean(squares.flatten(1), 1)
    return total


def _determinant(grid: Tensor) -> tuple[Tensor, Tensor]:
    """The Jacobian determinant at inner points, and whether the points around them are finite."""
    finite, safe = _known(grid)
    dims = grid.shape[-1]
    columns, known = [], torch.ones((), dtype=torch.bool, device=grid.device)
    for k in range(dims):  # x first
        axis = -2 - k
        n, step = grid.shape[axis] - 2, 2 / grid.shape[axis]
        column = (safe.narrow(axis, 2, n) - safe.narrow(axis, 0, n)) / (2 * step)
        both = finite.narrow(axis, 2, n) & finite.narrow(axis, 0, n)
        for other in set(range(-dims - 1, -1)) - {axis}:
            column, both = (t.narrow(other, 1, t.shape[other] - 2) for t in (column, both))
        columns.append(column)
        known = known & both[..., 0]
    jacobian = torch.stack(columns, dim=-1)
    # the unused branch and its derivative must be finite
    identity = torch.eye(dims, dtype=grid.dtype, device=grid.device)
    return torch.linalg.det(torch.where(known[..., None, None], jacobian, identity)), known


def _known(grid: Tensor) -> tuple[Tensor, Tensor]:
    """Which points are finite ``(..., 1)``, and the grid with the others set to zero.

    Raises:
        ShapeError: If it is not a grid of at least 3 pixels an axis.
    """
    dims = grid.shape[-1] if grid.dim() else 0
    fits = dims in (2, 3) and grid.dim() in (dims + 2, dims + 3)
    if not fits or min(grid.shape[-dims - 1 : -1]) < 3:
        raise ShapeError(
            "grid must be (B, H, W, 2) or (B, D, H, W, 3), or (B, N, ...), of at least 3 pixels an "
            f"axis, got {tuple(grid.shape)}"
        )
    finite = torch.isfinite(grid).all(dim=-1, keepdim=True)
    return finite, torch.where(finite, grid, 0)
