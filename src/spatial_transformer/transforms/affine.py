"""Affine: theta is the 2x3 (3x4) matrix row by row."""

from torch import Tensor

from spatial_transformer.transforms.matrix import MatrixTransform


class Affine(MatrixTransform):
    """source = A_theta (target, 1): cropping, translation, rotation, scale and skew.

    Args:
        dims: 2 or 3.
        fixed: Entries that are not predicted; see ``MatrixTransform``.

    Note:
        Source: the paper's equation (1).
        Coordinates: normalised; theta = (a11, a12, a13, a21, a22, a23) in 2-D.

    Examples:
        >>> import torch
        >>> t = Affine()
        >>> t.identity()
        tensor([1., 0., 0., 0., 1., 0.])
        >>> t.inverse(torch.tensor([[2.0, 0.0, 1.0, 0.0, 4.0, 0.0]]))
        tensor([[ 0.5000,  0.0000, -0.5000,  0.0000,  0.2500,  0.0000]])
    """

    name = "affine"
    supported_dims = (2, 3)

    def _names(self) -> tuple[str, ...]:
        rows, columns = range(1, self.dims + 1), range(1, self.dims + 2)
        return tuple(f"a{i}{j}" for i in rows for j in columns)

    def _full_identity(self) -> list[float]:
        return [float(i == j) for i in range(self.dims) for j in range(self.dims + 1)]

    def _matrix(self, full: Tensor) -> Tensor:
        return full.view(*full.shape[:-1], self.dims, self.dims + 1)

    def matrix_for_kernels(self, theta: Tensor) -> Tensor:
        """Theta itself, which is the matrix row by row, unless entries are fixed."""
        # theta is the matrix: a zero gradient to one is zero to the other
        if self.fixed:
            return super().matrix_for_kernels(theta)
        return theta if type(self)._matrix is Affine._matrix else self._matrix(theta)

    def _from_matrix(self, matrix: Tensor) -> Tensor:
        return matrix.flatten(-2)
