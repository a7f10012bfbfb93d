"""P: digits under a random projection."""

import math

import torch
from torch import Tensor

from spatial_transformer.experiments.data.distortion import (
    HALF,
    Distortion,
    PoseRange,
    normal,
    uniform,
)
from spatial_transformer.functional import warp


def homography(target: Tensor, source: Tensor) -> Tensor:
    """The projective theta that maps four target points to four source points.

    Solved in float64; points of which three are on a line give non-finite entries.

    Args:
        target: ``(B, 4, 2)``, normalised.
        source: ``(B, 4, 2)``, normalised.

    Returns:
        ``(B, 8)``.
    """
    x, y = target.double().unbind(-1)
    u, v = source.double().unbind(-1)
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    rows_u = torch.stack([x, y, one, zero, zero, zero, -u * x, -u * y], dim=-1)
    rows_v = torch.stack([zero, zero, zero, x, y, one, -v * x, -v * y], dim=-1)
    system = torch.cat([rows_u, rows_v], dim=1)
    solution, info = torch.linalg.solve_ex(system, torch.cat([u, v], dim=1))
    solution = torch.where((info == 0)[:, None], solution, torch.nan)
    return solution.to(target.dtype)


def stretched(scale: Tensor, amounts: Tensor) -> Tensor:
    """The projective theta that shows a digit scaled and its corners moved along the diagonals.

    Args:
        scale: Magnification of the digit, ``(B,)``.
        amounts: How far each corner moves away from the centre, in pixels, ``(B, 4)``, row by row
            from the top left.

    Returns:
        ``(B, 8)``.
    """
    corners = scale.new_tensor([[-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0], [1.0, 1.0]])
    outwards = amounts[..., None] / HALF * corners / math.sqrt(2)
    target = corners * scale[:, None, None] + outwards
    return homography(target, corners.expand(len(scale), 4, 2))


class Projected(Distortion):
    """P: scale in [0.75, 1.0], then each corner stretched by N(0, 5 pixels), 28x28.

    Stretching a corner "by an amount" is read as moving it that far along its diagonal, away from
    the digit's centre or, if the amount is negative, towards it.

    Note:
        Source: the paper's appendix A.3.
    """

    name = "p"
    version = 2  # corners were moved in x and in y
    title = "P"
    poses = PoseRange(scale=(0.75, 1.0))

    def __call__(self, digits: Tensor, generator: torch.Generator) -> Tensor:
        """Digits ``(B, 1, 28, 28)`` to images ``(B, 1, 28, 28)``, both in [0, 1]."""
        count = len(digits)
        scale = uniform(generator, count, *self.poses.scale)
        amounts = normal(generator, count, 4, std=5.0)
        return warp(digits, stretched(scale, amounts), "projective", self.size)
