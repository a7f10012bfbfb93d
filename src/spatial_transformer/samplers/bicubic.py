"""Bicubic (tricubic in 3-D): Keys' cubic convolution."""

from fractions import Fraction

from spatial_transformer.samplers.pieces import PiecewisePolynomial, Polynomial

#: the parameter of torch and OpenCV
KEYS_A = -0.75


class Bicubic(PiecewisePolynomial):
    """Keys' cubic convolution with parameter ``a``.

    k(d) = (a + 2) x^3 - (a + 3) x^2 + 1 for x = abs(d) < 1, and a (x^3 - 5 x^2 + 8 x - 4) up to 2.

    Args:
        a: -0.75 is that of torch and OpenCV; a = -0.5 is of third order, every other one of first.

    Note:
        Source: Keys 1981, through the paper's equation (3).

    Examples:
        >>> Bicubic().order, Bicubic(a=-0.5).order
        (1, 3)
    """

    name = "bicubic"
    support = 2.0

    def __init__(self, a: float = KEYS_A) -> None:
        self.a = a
        self.order = 3 if a == -0.5 else 1  # only then linear functions are reproduced
        super().__init__()

    def _piece(self, x: Fraction) -> Polynomial:
        a, one = Fraction(self.a), Fraction(1)
        if abs(x) >= 2:
            return [Fraction(0)]
        inner = [one, Fraction(0), -(a + 3), a + 2]
        piece = inner if abs(x) < 1 else [-4 * a, 8 * a, -5 * a, a]
        sign = 1 if x >= 0 else -1
        return [c * sign**i for i, c in enumerate(piece)]
