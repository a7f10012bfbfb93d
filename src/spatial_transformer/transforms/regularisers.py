"""Penalties that keep a transformer reasonable; each ``(B,)``, to be averaged into a loss."""

import torch
from torch import Tensor

from spatial_transformer.transforms.base import Transform


def identity_penalty(theta: Tensor, transform: Transform) -> Tensor:
    """Mean squared distance of theta to the identity's: ``(B, P)`` -> ``(B,)``."""
    return (theta - transform.identity().to(theta)).square().flatten(1).mean(dim=1)


def out_of_frame(grid: Tensor, margin: float = 0.0) -> Tensor:
    """How far the grid's points lie outside [-1, 1], squared, on average; grid ``(B, ..., d)``.

    Source: the Caffe layer's STLoss. Non-finite points count nothing and pass no gradient.
    """
    beyond = (grid.abs() - (1 + margin)).clamp(min=0)
    beyond = torch.where(torch.isfinite(grid), beyond, 0)
    return beyond.square().sum(-1).flatten(1).mean(dim=1)


def outside_fraction(grid: Tensor) -> Tensor:
    """Which part of the grid's points lies outside [-1, 1] (or is not finite): ``(B,)``."""
    inside = (grid.abs() <= 1).all(dim=-1)
    return 1 - inside.flatten(1).float().mean(dim=1)


def jacobian_determinant(grid: Tensor) -> Tensor:
    """det of dT/dp by central differences over the grid's inner points; 1 for the identity.

    ``(B, H, W, 2)`` -> ``(B, H - 2, W - 2)``, likewise in 3-D. For grids made with
    ``align_corners=False``. Where it is not positive, the map folds.
    """
    dims = grid.shape[-1]
    inner = (slice(1, -1),) * dims
    columns = []
    for k in range(dims):  # x first
        axis = dims - k
        step = 2 / grid.shape[axis]
        higher = grid.narrow(axis, 2, grid.shape[axis] - 2)
        lower = grid.narrow(axis, 0, grid.shape[axis] - 2)
        rest = list(inner)
        rest[axis - 1] = slice(None)
        columns.append(((higher - lower) / (2 * step))[(slice(None), *rest)])
    jacobian = torch.stack(columns, dim=-1)
    return torch.linalg.det(jacobian)


def jacobian_penalty(grid: Tensor, floor: float = 0.0) -> Tensor:
    """Mean of how far the Jacobian determinant falls below ``floor``: ``(B,)``; 0 without folds."""
    return (floor - jacobian_determinant(grid)).clamp(min=0).flatten(1).mean(dim=1)


def bending_energy(grid: Tensor) -> Tensor:
    """Mean squared second derivatives (mixed ones twice) over the inner points: ``(B,)``.

    Zero for affine maps. ``(B, H, W, 2)`` or ``(B, D, H, W, 3)`` made with
    ``align_corners=False``; derivatives in normalised units.
    """
    dims = grid.shape[-1]
    total = grid.new_zeros(grid.shape[0])
    for i in range(1, dims + 1):
        for j in range(i, dims + 1):
            second = grid
            for axis in (i, j):
                n = second.shape[axis] - 1
                step = 2 / grid.shape[axis]
                second = (second.narrow(axis, 1, n) - second.narrow(axis, 0, n)) / step
            total = total + (1 if i == j else 2) * second.square().sum(-1).flatten(1).mean(dim=1)
    return total
