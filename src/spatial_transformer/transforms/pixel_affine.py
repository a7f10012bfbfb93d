"""Per-pixel affine: a field of affine maps."""

import math
from collections.abc import Sequence

from torch import Tensor

from spatial_transformer.coordinates import check_size
from spatial_transformer.transforms.affine import Affine
from spatial_transformer.transforms.base import Transform
from spatial_transformer.transforms.displacement import read_field


class PixelAffine(Transform):
    """T_theta(p) = A(p) (p, 1), A a field of affine matrices on a grid, interpolated bilinearly.

    theta is one matrix row by row after the other, the grid row by row from the top left.

    Args:
        shape: Size of the field, (rows, columns) or (planes, rows, columns); 4 by default.
        dims: 2 or 3.

    Raises:
        ShapeError: If ``shape`` is not a size.

    Note:
        Source: the paper's equation (1) with a matrix that depends on the position (bilateral
        grids, local affine colour and shape models).
        Coordinates: normalised; the field's pixel centres are where a grid of that size has them
        (``align_corners=False``).

    Examples:
        >>> PixelAffine((2, 2)).num_params
        24
    """

    name = "pixel_affine"
    supported_dims = (2, 3)

    def __init__(self, shape: Sequence[int] | None = None, *, dims: int = 2) -> None:
        super().__init__(dims)
        self.shape = check_size(shape if shape is not None else 4, dims)

    @property
    def num_params(self) -> int:
        """P, the number of entries of theta."""
        return self.dims * (self.dims + 1) * math.prod(self.shape)

    def identity(self) -> Tensor:
        """The theta of the identity, ``(P,)``, float32, on the CPU."""
        return Affine(self.dims).identity().repeat(math.prod(self.shape))

    def _points(self, theta: Tensor, points: Tensor) -> Tensor:
        entries = self.dims * (self.dims + 1)
        field = theta.unflatten(-1, (*self.shape, entries)).movedim(-1, -self.dims - 1)
        # relative to the identity, which is then exact whatever the weights sum to
        eye = Affine(self.dims).identity().to(theta).reshape(-1, *(1,) * self.dims)
        matrix = read_field(field - eye, points, False).unflatten(-1, (self.dims, self.dims + 1))
        linear = (matrix[..., : self.dims] * points.unsqueeze(-2)).sum(-1)
        return points + linear + matrix[..., self.dims]
