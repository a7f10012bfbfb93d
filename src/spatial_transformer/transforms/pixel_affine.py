"""Per-pixel affine: a field of affine maps."""

import math
from collections.abc import Sequence

from torch import Tensor

from spatial_transformer.coordinates import check_size
from spatial_transformer.transforms.affine import Affine
from spatial_transformer.transforms.base import Transform
from spatial_transformer.transforms.displacement import read_field


class PixelAffine(Transform):
    """T_theta(p) = A(p) (p, 1), A a field of affine matrices on a grid of ``shape``, bilinear in
    between.

    theta is one matrix row by row after the other, the grid row by row from the top left.
    Source: the paper's equation (1) with a matrix that depends on the place (bilateral grids,
    local affine colour and shape models).
    Convention: normalised coordinates; the field's pixel centres are where a grid of that size has
    them (``align_corners=False``).

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
        return self.dims * (self.dims + 1) * math.prod(self.shape)

    def identity(self) -> Tensor:
        return Affine(self.dims).identity().repeat(math.prod(self.shape))

    def _points(self, theta: Tensor, points: Tensor) -> Tensor:
        entries = self.dims * (self.dims + 1)
        field = theta.unflatten(-1, (*self.shape, entries)).movedim(-1, -self.dims - 1)
        # the identity is taken out and put back, so that it is exact whatever the weights sum to
        eye = Affine(self.dims).identity().to(theta).reshape(-1, *(1,) * self.dims)
        matrix = read_field(field - eye, points, False).unflatten(-1, (self.dims, self.dims + 1))
        linear = (matrix[..., : self.dims] * points.unsqueeze(-2)).sum(-1)
        return points + linear + matrix[..., self.dims]
