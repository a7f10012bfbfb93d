"""Projective: theta is the 3x3 matrix row by row without its last entry, which is 1."""

import torch
from torch import Tensor

from spatial_transformer.transforms.matrix import MatrixTransform


class Projective(MatrixTransform):
    """A homography of 8 parameters: source = (p1, p2) / p3 with p = M_theta (target, 1).

    Args:
        dims: 2.
        fixed: Entries that are not predicted; see ``MatrixTransform``.

    Note:
        Source: the paper's section 3.2, "plane projective transformation with 8 parameters".
        Coordinates: normalised. Points at or behind the horizon (p3 <= 0) are infinitely far: they
        read as outside, and pass no gradient. A product or an inverse with the middle of its output
        there (h33 <= 0) is no theta of this family: it is NaN, outside everywhere.

    Examples:
        >>> Projective().identity()
        tensor([1., 0., 0., 0., 1., 0., 0., 0.])
    """

    name = "projective"

    def _names(self) -> tuple[str, ...]:
        return tuple(f"h{i}{j}" for i in range(1, 4) for j in range(1, 4))[:-1]

    def _full_identity(self) -> list[float]:
        return [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]

    def _matrix(self, full: Tensor) -> Tensor:
        one = torch.ones_like(full[..., :1])
        return torch.cat([full, one], dim=-1).unflatten(-1, (3, 3))

    def _from_matrix(self, matrix: Tensor) -> Tensor:
        return (matrix / matrix[..., 2:, 2:]).flatten(-2)[..., :-1]

    def _trim(self, square: Tensor) -> Tensor:
        # a negative factor would swap the two sides of the horizon
        return torch.where(square[..., 2:, 2:] > 0, square, torch.nan)
