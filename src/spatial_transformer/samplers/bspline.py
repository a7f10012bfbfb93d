"""B-splines of order 0 to 5, with the prefilter that makes them interpolate."""

from fractions import Fraction
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from spatial_transformer.coordinates import coordinate_dtype, full_precision
from spatial_transformer.errors import ExportError, OptionError
from spatial_transformer.samplers.check import is_exporting
from spatial_transformer.samplers.padding import CONSTANT
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
        image = image.to(coordinate_dtype(image))  # coefficients are larger than pixels
        if fill is not None and padding in CONSTANT:
            level = fill.unflatten(-1, (1,) * (image.dim() - 2))
            image = image - level  # the filter keeps constants: it is added back below
        for axis in range(2, image.dim()):
            n = image.shape[axis]
            matrix = self._filter(image, n, padding, align_corners)
            with full_precision(image.device):
                image = torch.tensordot(image, matrix, dims=([axis], [1])).movedim(-1, axis)
        if fill is not None and padding in CONSTANT:
            image = image + level
        return image

    def _filter(self, image: Tensor, n: int, padding: str, align_corners: bool) -> Tensor:
        if not is_exporting():
            like = torch.empty(0, device=image.device, dtype=image.dtype)
            return torch.ops.stn.spline_filter(like, self.degree, n, padding, align_corners)
        if isinstance(n, torch.SymInt):
            raise ExportError(
                f"kernel {self.name!r} has a prefilter, whose matrix depends on the image's size: "
                "export it for a fixed size"
            )
        # an exported graph holds the matrix itself
        matrix = torch.from_numpy(filter_matrix(self.degree, n, padding, align_corners))
        return matrix.to(image.device, image.dtype)


@lru_cache(maxsize=32)
def filter_matrix(order: int, n: int, padding: str, align_corners: bool) -> np.ndarray:
    """Pixels -> spline coefficients along one axis: ``(n + 2 * margin, n)``, float64.

    The inverse of the matrix of spline values at whole pixels under the padding's extension.
    """
    if padding in (*CONSTANT, "border"):
        count = n + 2 * MARGIN
        place = np.arange(count) - MARGIN
        extend = np.eye(n)[place.clip(0, n - 1)]
        if padding in CONSTANT:
            extend[(place < 0) | (place >= n)] = 0
        # beyond the margin SciPy goes on by mirroring, or for border by reflecting
        mode = "symmetric" if padding == "border" else "reflect"
    else:
        count, extend = n, np.eye(n)
        half = padding == "reflection" and not align_corners
        mode = "wrap" if padding == "wrap" else "symmetric" if half else "reflect"
    reach = order // 2
    index = np.pad(np.arange(count), reach, mode=mode)  # type: ignore[call-overload]
    values = np.zeros((count, count))
    piece = truncated_powers(order)
    for k in range(-reach, reach + 1):
        # continuous at knots for order > 1: either side's piece will do
        value = float(evaluate(piece(Fraction(k)), Fraction(k)))
        np.add.at(values, (np.arange(count), index[reach + k : reach + k + count]), value)
    return np.linalg.solve(values, extend)


# an operator, so that the matrix is one node of a compiled graph and is made once, when it runs
_LIBRARY = torch.library.Library("stn", "FRAGMENT")
_OPTIONS = "int order, int n, str padding, bool align_corners"
_LIBRARY.define(f"spline_filter(Tensor like, {_OPTIONS}) -> Tensor")


def _spline_filter(like: Tensor, order: int, n: int, padding: str, align_corners: bool) -> Tensor:
    return torch.from_numpy(filter_matrix(order, n, padding, align_corners)).to(like)


def _fake_filter(like: Tensor, order: int, n: int, padding: str, align_corners: bool) -> Tensor:
    margin = MARGIN if padding in (*CONSTANT, "border") else 0
    return like.new_empty(n + 2 * margin, n)


_LIBRARY.impl("spline_filter", _spline_filter, "CompositeExplicitAutograd")
torch.library.register_fake("stn::spline_filter", _fake_filter, lib=_LIBRARY)
