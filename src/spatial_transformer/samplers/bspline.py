"""B-splines of order 0 to 5, with the prefilter that makes them interpolate."""

from fractions import Fraction
from functools import lru_cache

import torch
from torch import Tensor

from spatial_transformer.errors import OptionError
from spatial_transformer.samplers.padding import CONSTANT, edge
from spatial_transformer.samplers.pieces import (
    PiecewisePolynomial,
    Polynomial,
    evaluate,
    truncated_powers,
)

#: how far an image without a periodic extension is continued before it is filtered, as SciPy does
MARGIN = 12


class BSpline(PiecewisePolynomial):
    """The B-spline of ``order`` (its degree), 0 to 5.

    Source: Unser 1999, through the paper's equation (3).

    Args:
        prefilter: turn the image into spline coefficients first, so that the spline goes through
            the pixels (as SciPy's map_coordinates does); without it order 2 and more smooth.
    """

    prefilters: bool

    def __init__(self, order: int, prefilter: bool = True) -> None:
        if order not in range(6):
            raise OptionError(f"a B-spline's order must be 0 to 5, got {order!r}")
        self.degree = order
        self.support = (order + 1) / 2
        self.copies = order == 0
        self.prefilters = prefilter and order > 1
        self.order = order + 1 if self.prefilters or order < 2 else 2
        self.name = f"bspline{order}"  # type: ignore[misc]
        super().__init__()

    def _piece(self, x: Fraction) -> Polynomial:
        return truncated_powers(self.degree)(x)

    def weights(self, t: Tensor) -> list[Tensor]:
        if self.degree == 0:
            return [0 * t + 1]  # one piece with a jump at its end, which is not inside
        return super().weights(t)

    def margin(self, padding: str) -> int:
        extended = self.prefilters and padding in (*CONSTANT, "border")
        return MARGIN if extended else 0

    def prepare(
        self, image: Tensor, padding: str, fill: Tensor | None, align_corners: bool
    ) -> Tensor:
        if not self.prefilters:
            return image
        if fill is not None and padding in CONSTANT:
            level = fill.unflatten(-1, (1,) * (image.dim() - 2))
            image = image - level  # the filter keeps constants: it is added back below
        for axis in range(2, image.dim()):
            n = image.shape[axis]
            matrix = filter_matrix(self.degree, n, padding, align_corners)
            matrix = matrix.to(device=image.device, dtype=image.dtype)
            with torch.autocast(image.device.type, enabled=False):
                image = torch.tensordot(image, matrix, dims=([axis], [1])).movedim(-1, axis)
        if fill is not None and padding in CONSTANT:
            image = image + level
        return image


@lru_cache(maxsize=32)
def filter_matrix(order: int, n: int, padding: str, align_corners: bool) -> Tensor:
    """Pixels -> spline coefficients along one axis: ``(n + 2 * margin, n)``, float64.

    The inverse of the matrix of spline values at whole pixels under the padding's extension.
    """
    extend = torch.eye(n, dtype=torch.float64)
    if padding in (*CONSTANT, "border"):
        whole = n + 2 * MARGIN
        place = torch.arange(whole) - MARGIN
        extend = torch.zeros(whole, n, dtype=torch.float64)
        inside = (place >= 0) & (place < n) if padding in CONSTANT else torch.ones(whole).bool()
        rows = inside.nonzero()[:, 0]
        extend[rows, place.clamp(0, n - 1)[rows]] = 1
        # beyond the margin SciPy goes on by mirroring, or for border by reflecting
        rule = edge("reflection" if padding == "border" else "mirror", whole, order, False)
    else:
        rule = edge(padding, n, order, align_corners)
    count = extend.shape[0]
    values = torch.zeros(count, count, dtype=torch.float64)
    piece = truncated_powers(order)
    rows = torch.arange(count)
    for k in range(-(order // 2), order // 2 + 1):
        x = Fraction(k)
        # continuous at knots for order > 1: either side's piece will do
        value = float(evaluate(piece(x), x))
        index, _ = rule.index(rows + k)
        values.index_put_((rows, index), torch.tensor(value, dtype=torch.float64), accumulate=True)
    return torch.linalg.solve(values, extend)
