"""Similarity: rotation, isotropic scale, translation."""

import torch
from torch import Tensor

from spatial_transformer.transforms.matrix import MatrixTransform
from spatial_transformer.transforms.rotation import rotation_matrix, rotation_vector


class Similarity(MatrixTransform):
    """Rotation, isotropic scale and translation: source = s * R * target + t.

    theta is (angle, s, tx, ty) in 2-D, with R = [[cos, -sin], [sin, cos]], and (rx, ry, rz, s, tx,
    ty, tz) in 3-D, with the rotation vector (axis times angle); radians.

    Args:
        dims: 2 or 3.
        fixed: Entries that are not predicted; see ``MatrixTransform``.

    Note:
        Source: a restriction of the paper's equation (1).
        Coordinates: normalised. A positive angle turns the sampling window clockwise (y points
        down), so the content of the output turns counter-clockwise. On an image that is not square
        a rotation of normalised coordinates is not one of pixels.

    Examples:
        >>> Similarity().matrix(torch.tensor([[torch.pi / 2, 2.0, 0.5, 0.0]])).round(decimals=3)
        tensor([[[-0.0000, -2.0000,  0.5000],
                 [ 2.0000, -0.0000,  0.0000]]])
    """

    name = "similarity"
    supported_dims = (2, 3)

    def _names(self) -> tuple[str, ...]:
        turns = ("angle",) if self.dims == 2 else ("rx", "ry", "rz")
        return (*turns, "s", *("tx", "ty", "tz")[: self.dims])

    def _full_identity(self) -> list[float]:
        return [float(n == "s") for n in self._names()]

    def _scale(self, full: Tensor) -> Tensor:
        return full[..., -self.dims - 1, None]

    def _matrix(self, full: Tensor) -> Tensor:
        if self.dims == 2:
            cos, sin = torch.cos(full[..., 0]), torch.sin(full[..., 0])
            rotation = torch.stack([cos, -sin, sin, cos], dim=-1).unflatten(-1, (2, 2))
        else:
            rotation = rotation_matrix(full[..., :3])
        linear = self._scale(full).unsqueeze(-1) * rotation
        return torch.cat([linear, full[..., -self.dims :].unsqueeze(-1)], dim=-1)

    def _from_matrix(self, matrix: Tensor) -> Tensor:
        if self.dims == 2:
            a, b = matrix[..., 0, :1], matrix[..., 1, :1]
            turn, s = torch.atan2(b, a), torch.hypot(a, b)
        else:
            linear = matrix[..., :3]
            det = torch.linalg.det(linear)  # of the scale's sign: a rotation's is 1
            s = (det.sign() * det.abs().pow(1 / 3)).unsqueeze(-1)
            turn = rotation_vector(linear / s.unsqueeze(-1))
        return torch.cat([turn, s, matrix[..., -1]], dim=-1)
