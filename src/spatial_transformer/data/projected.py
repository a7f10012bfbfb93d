"""P: digits under a random projection."""

import torch
from torch import Tensor

from spatial_transformer.data.distortion import HALF, Distortion, normal, uniform
from spatial_transformer.functional import warp


def homography(target: Tensor, source: Tensor) -> Tensor:
    """The projective theta that maps four target points to four source points.

    Both ``(B, 4, 2)`` -> ``(B, 8)``. Solved in float64; points of which three are on a line give
    non-finite entries.
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


class Projected(Distortion):
    """P: scale in [0.75, 1.0], then each corner moved by N(0, 5 pixels) in x and in y, 28x28 (the
    paper's appendix A.3).
    """

    name = "p"
    title = "P"

    def __call__(self, digits: Tensor, generator: torch.Generator) -> Tensor:
        count = len(digits)
        scale = uniform(generator, count, 0.75, 1.0)
        corners = torch.tensor(
            [[-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0], [1.0, 1.0]], device=digits.device
        )
        moves = normal(generator, count, 4, 2, std=5.0) / HALF
        theta = homography(corners * scale[:, None, None] + moves, corners.expand(count, 4, 2))
        return warp(digits, theta, "projective", self.size)
