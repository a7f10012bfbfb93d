"""Rigid: rotation and translation."""

import torch
from torch import Tensor

from spatial_transformer.transforms.similarity import Similarity


class Rigid(Similarity):
    """Rotation and translation, source = R target + t: ``Similarity`` with s = 1.

    theta is (angle, tx, ty) in 2-D and (rx, ry, rz, tx, ty, tz) in 3-D, the rotation vector in
    radians.

    Args:
        dims: 2 or 3.
        fixed: Entries that are not predicted; see ``MatrixTransform``.

    Note:
        Source: a restriction of the paper's equation (1).
        Coordinates: as ``Similarity``.

    Examples:
        >>> Rigid(dims=3).num_params
        6
    """

    name = "rigid"

    def _names(self) -> tuple[str, ...]:
        return tuple(n for n in super()._names() if n != "s")

    def _full_identity(self) -> list[float]:
        return [0.0] * len(self._names())

    def _scale(self, full: Tensor) -> Tensor:
        return full[..., :1] * 0 + 1

    def _from_matrix(self, matrix: Tensor) -> Tensor:
        both = super()._from_matrix(matrix)
        turns = 1 if self.dims == 2 else 3
        return torch.cat([both[..., :turns], both[..., turns + 1 :]], dim=-1)
