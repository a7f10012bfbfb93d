"""Similarity: rotation, isotropic scale, translation; theta = (angle, s, tx, ty)."""

import torch
from torch import Tensor

from spatial_transformer.transforms.matrix import MatrixTransform


class Similarity(MatrixTransform):
    """source = s * R(angle) * target + t, with R = [[cos, -sin], [sin, cos]].

    Source: a restriction of the paper's equation (1).
    Convention: normalised coordinates, angle in radians. A positive angle turns the sampling
    window clockwise (y points down), so the content of the output turns counter-clockwise. On an
    image that is not square a rotation of normalised coordinates is not one of pixels.

    >>> Similarity().matrix(torch.tensor([[torch.pi / 2, 2.0, 0.5, 0.0]])).round(decimals=3)
    tensor([[[-0.0000, -2.0000,  0.5000],
             [ 2.0000, -0.0000,  0.0000]]])
    """

    name = "similarity"

    def _names(self) -> tuple[str, ...]:
        return ("angle", "s", "tx", "ty")

    def _full_identity(self) -> list[float]:
        return [0.0, 1.0, 0.0, 0.0]

    def _matrix(self, full: Tensor) -> Tensor:
        angle, s, tx, ty = full.unbind(-1)
        a, b = s * torch.cos(angle), s * torch.sin(angle)
        return torch.stack([a, -b, tx, b, a, ty], dim=-1).unflatten(-1, (2, 3))

    def _from_matrix(self, matrix: Tensor) -> Tensor:
        a, b = matrix[..., 0, 0], matrix[..., 1, 0]
        angle, s = torch.atan2(b, a), torch.hypot(a, b)
        return torch.stack([angle, s, matrix[..., 0, 2], matrix[..., 1, 2]], dim=-1)
