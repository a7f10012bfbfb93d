"""Translation: theta = (tx, ty[, tz])."""

import torch
from torch import Tensor

from spatial_transformer.transforms.matrix import MatrixTransform


class Translation(MatrixTransform):
    """A shift of the sampling grid: source = target + t.

    Args:
        dims: 2 or 3.
        fixed: Entries that are not predicted; see ``MatrixTransform``.

    Note:
        Source: equation (2) of the paper with s = 1.
        Coordinates: t in normalised units, so ``tx = 2 * k / W`` moves the window by k pixels to
        the right (``align_corners=False``).

    Examples:
        >>> Translation().matrix(torch.tensor([[0.5, -1.0]]))
        tensor([[[ 1.0000,  0.0000,  0.5000],
                 [ 0.0000,  1.0000, -1.0000]]])
    """

    name = "translation"
    supported_dims = (2, 3)

    def _names(self) -> tuple[str, ...]:
        return ("tx", "ty", "tz")[: self.dims]

    def _full_identity(self) -> list[float]:
        return [0.0] * self.dims

    def _matrix(self, full: Tensor) -> Tensor:
        eye = torch.eye(self.dims, dtype=full.dtype, device=full.device)
        linear = eye.expand(*full.shape[:-1], self.dims, self.dims)
        return torch.cat([linear, full.unsqueeze(-1)], dim=-1)

    def _from_matrix(self, matrix: Tensor) -> Tensor:
        return matrix[..., -1]
