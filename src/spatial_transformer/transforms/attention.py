"""Attention: isotropic scale and translation, theta = (s, tx, ty[, tz])."""

import torch
from torch import Tensor

from spatial_transformer.transforms.matrix import MatrixTransform


class Attention(MatrixTransform):
    """A window of scale s centred at t: source = s * target + t.

    Args:
        dims: 2 or 3.
        fixed: Entries that are not predicted; ``fixed={"s": 0.5}`` is the paper's attention of
            fixed size (appendix A.5).

    Note:
        Source: the paper's equation (2).
        Coordinates: normalised; s = 0.5 shows half of the image's width and height.

    Examples:
        >>> Attention().matrix(torch.tensor([[0.5, 0.25, 0.0]]))
        tensor([[[0.5000, 0.0000, 0.2500],
                 [0.0000, 0.5000, 0.0000]]])
    """

    name = "attention"
    supported_dims = (2, 3)

    def _names(self) -> tuple[str, ...]:
        return ("s", "tx", "ty", "tz")[: self.dims + 1]

    def _full_identity(self) -> list[float]:
        return [1.0] + [0.0] * self.dims

    def _matrix(self, full: Tensor) -> Tensor:
        eye = torch.eye(self.dims, dtype=full.dtype, device=full.device)
        linear = eye * full[..., :1].unsqueeze(-1)
        return torch.cat([linear, full[..., 1:].unsqueeze(-1)], dim=-1)

    def _from_matrix(self, matrix: Tensor) -> Tensor:
        return torch.cat([matrix[..., 0, :1], matrix[..., -1]], dim=-1)
