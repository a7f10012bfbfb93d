"""B-splines of order 0 to 5, with the prefilter that makes them interpolate."""

from collections.abc import Sequence
from fractions import Fraction
from math import sqrt
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from spatial_transformer.coordinates import coordinate_dtype
from spatial_transformer.errors import OptionError
from spatial_transformer.ops.torch_internals import constant_result
from spatial_transformer.samplers.padding import CONSTANT, Edge, edge
from spatial_transformer.samplers.pieces import PiecewisePolynomial, Polynomial, truncated_powers
from spatial_transformer.sums import is_plain

#: how far an image without a periodic extension is continued before it is filtered, as SciPy does
MARGIN = 12

#: the poles of the inverse of sampled B-splines within the unit circle, by order
POLES = {
    2: (sqrt(8) - 3,),
    3: (sqrt(3) - 2,),
    4: (
        sqrt(664 - sqrt(438976)) + sqrt(304) - 19,
        sqrt(664 + sqrt(438976)) - sqrt(304) - 19,
    ),
    5: (
        sqrt(67.5 - sqrt(4436.25)) + sqrt(26.25) - 6.5,
        sqrt(67.5 + sqrt(4436.25)) - sqrt(26.25) - 6.5,
    ),
}


class BSpline(PiecewisePolynomial):
    """The B-spline kernel of a degree of 0 to 5.

    Args:
        order: The spline's degree.
        prefilter: Turn the image into spline coefficients first, so that the spline interpolates
            the pixels (as SciPy's map_coordinates does); without it a degree of 2 or more smooths.

    Raises:
        OptionError: If ``order`` is not 0 to 5.

    Note:
        Source: Unser 1999, through the paper's equation (3).
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
        """The weight of each tap at the fraction ``t``; as ``Kernel.weights``."""
        if self.degree == 0:
            return [0 * t + 1]  # one piece with a jump at its end, which is not inside
        return super().weights(t)

    def margin(self, padding: str) -> int:
        """``MARGIN`` where the filter needs the image continued past its edges, else 0."""
        extended = self.prefilters and padding in (*CONSTANT, "border")
        return MARGIN if extended else 0

    def prepare(
        self, image: Tensor, padding: str, fill: Tensor | None, align_corners: bool
    ) -> Tensor:
        """The spline coefficients of the image, ``margin`` larger on every side."""
        if not self.prefilters:
            return image
        image = image.to(coordinate_dtype(image))  # coefficients are larger than pixels
        if fill is not None and padding in CONSTANT:
            level = fill.unflatten(-1, (1,) * (image.dim() - 2))
            image = image - level  # the filter preserves constants: added back below
        for axis in range(2, image.dim()):
            image = coefficients(image, axis, self.degree, padding, align_corners)
        if fill is not None and padding in CONSTANT:
            image = image + level
        return image


@constant_result  # traced, its numbers would become dynamic
def filter_steps(order: int, dtype: torch.dtype) -> tuple[tuple[tuple[int, float], ...], float]:
    """The factors (m, w) of the filter of a B-spline, and its scale; see ``coefficients``."""
    steps, scale = [], 1.0
    for pole in POLES[order]:
        m, scale = 1, scale * (1 - pole) ** 2
        while abs(pole) ** m > torch.finfo(dtype).eps:
            w = pole**m
            steps.append((m, w / (1 + w * w)))
            m, scale = 2 * m, scale * (1 + w * w)
    return tuple(steps), scale


def coefficients(image: Tensor, axis: int, order: int, padding: str, align_corners: bool) -> Tensor:
    """Pixels to spline coefficients along one axis.

    The axis grows by ``MARGIN`` at both ends where the padding is not a periodic extension.

    Note:
        Source: Unser 1999. For every pole z the filter is (1 - z)^2 / ((1 - z S) (1 - z / S)), S
        being a shift by one pixel: the product of (1 + w S^m) (1 + w / S^m) with w = z^m over m =
        1, 2, 4, ..., as many as the image's precision resolves, whatever its size.
    """
    steps, scale = filter_steps(order, image.dtype)
    # along the first spatial axis, so that summands are contiguous
    image = image.movedim(axis, 2).contiguous()
    image = _extended(image, sum(m for m, _ in steps), padding, align_corners)
    smooth = _Smooth.apply if is_plain(image) else _smooth
    filtered: Tensor = smooth(image, steps, scale)
    return filtered.movedim(2, axis)


def _smooth(image: Tensor, steps: Sequence[tuple[int, float]], scale: float) -> Tensor:
    """Apply the filter's steps (m, w): add w times the pixels m before and after, in turn.

    The result is multiplied by ``scale``; pixels at both ends without all their neighbours are cut
    off.
    """
    for m, w in steps:
        n = image.shape[2] - 2 * m
        sides = image.narrow(2, 0, n) + image.narrow(2, 2 * m, n)
        image = sides.mul_(w).add_(image.narrow(2, m, n))
    return image.mul_(scale)


class _Smooth(torch.autograd.Function):
    """``_smooth``, whose gradient is the same filter applied to the zero-padded gradient."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, *options: Any) -> Tensor:
        ctx.options = options
        return _smooth(image, *options)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        steps, _ = ctx.options
        lost = 2 * sum(m for m, _ in steps)
        apply: Any = _Smooth.apply
        return apply(_pad(grad, lost, lost), *ctx.options), None, None


def _extended(image: Tensor, reach: int, padding: str, align_corners: bool) -> Tensor:
    """The image continued at both ends by ``reach`` pixels beyond its margin, if it has one."""
    n = image.shape[2]
    margin = MARGIN if padding in (*CONSTANT, "border") else 0
    place = torch.arange(-margin - reach, n + margin + reach, device=image.device)
    if margin:  # beyond it SciPy mirrors, or for border reflects
        beyond = Edge("reflection" if padding == "border" else "mirror", n + 2 * margin, 0)
        place = beyond.index(place + margin)[0] - margin
    index, inside = edge(padding, n, 0, align_corners).index(place)
    if inside is not None:
        image, index = _pad(image, 0, 1), torch.where(inside, index, n)
    return image.index_select(2, index)


def _pad(image: Tensor, before: int, after: int) -> Tensor:
    """Pad with zeros along the first spatial axis."""
    return F.pad(image, [0, 0] * (image.dim() - 3) + [before, after])
