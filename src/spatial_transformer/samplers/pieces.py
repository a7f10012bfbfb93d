"""Piecewise polynomial kernels, their pieces computed exactly as fractions."""

from collections.abc import Callable
from fractions import Fraction

import torch
from torch import Tensor

from spatial_transformer.samplers.kernel import Kernel

Polynomial = list[Fraction]  # coefficients, constant first


def evaluate(p: Polynomial, x: Fraction) -> Fraction:
    """The value p(x), by Horner's rule."""
    total = Fraction(0)
    for c in reversed(p):
        total = total * x + c
    return total


def shifted(p: Polynomial, by: Fraction) -> Polynomial:
    """The polynomial q(t) = p(t + by)."""
    out = [Fraction(0)] * len(p)
    for c in reversed(p):  # Horner: out = out * (t + by) + c
        out = [(out[i - 1] if i else Fraction(0)) + by * out[i] for i in range(len(out))]
        out[0] += c
    return out


class PiecewisePolynomial(Kernel):
    """A kernel whose weights are polynomials in t, one a tap.

    A subclass defines ``_piece(x)``: the polynomial in d that k is around d = x. Weights use
    Horner's rule in t itself, so they are exact where t is (0 at whole pixels).
    """

    def __init__(self) -> None:
        # d = t - j; t in [0, 1) with an even number of taps, [-1/2, 1/2) with an odd one
        middle = Fraction(0) if self.taps % 2 else Fraction(1, 2)
        self._polynomials: list[list[list[float]]] = []
        for j in self.offsets:
            self._polynomials.append([])
            # with odd taps a piece may change at t = 0, the middle of the interval
            for x in (middle - Fraction(1, 4), middle + Fraction(1, 4)):
                p = shifted(self._piece(x - j), Fraction(-j))
                self._polynomials[-1].append([float(c) for c in p])

    def _piece(self, x: Fraction) -> Polynomial:
        raise NotImplementedError

    def weights(self, t: Tensor) -> list[Tensor]:
        """The weight of each tap at the fraction ``t``; as ``Kernel.weights``."""
        return [self._horner(pieces, t) for pieces in self._polynomials]

    def __call__(self, d: Tensor) -> Tensor:
        """k(d) for any d."""
        base = torch.floor(d.detach() + self.shift)
        t = d - base
        total = torch.zeros_like(d)
        # d = t + base, and weights()[i] is k(t - offset): the tap with offset == -base
        for j, w in zip(self.offsets, self.weights(t), strict=True):
            total = torch.where(base == -j, w, total)
        return total

    @staticmethod
    def _horner(pieces: list[list[float]], t: Tensor) -> Tensor:
        def one(p: list[float]) -> Tensor:
            total = torch.full_like(t, p[-1])
            for c in reversed(p[:-1]):
                total = total * t + c
            return total

        low, high = pieces
        return one(low) if low == high else torch.where(t < 0, one(low), one(high))


def truncated_powers(order: int) -> Callable[[Fraction], Polynomial]:
    """The B-spline of degree ``order`` as ``_piece``.

    It is sum_k (-1)^k C(n+1, k) (d + (n+1)/2 - k)_+^n / n! with n = ``order``.
    """
    factorial = 1
    for n in range(2, order + 1):
        factorial *= n

    def piece(x: Fraction) -> Polynomial:
        total = [Fraction(0)] * (order + 1)
        sign, binomial = 1, 1
        for k in range(order + 2):
            knot = k - Fraction(order + 1, 2)
            if x > knot:
                power = shifted([Fraction(0)] * order + [Fraction(1)], -knot)
                total = [
                    a + Fraction(sign * binomial, factorial) * b
                    for a, b in zip(total, power, strict=True)
                ]
            sign, binomial = -sign, binomial * (order + 1 - k) // (k + 1)
        return total

    return piece
