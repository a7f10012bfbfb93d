"""Thin plate spline: the smoothest map that takes the control points to given positions."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from spatial_transformer.coordinates import on_cpu
from spatial_transformer.errors import OptionError
from spatial_transformer.sums import product
from spatial_transformer.transforms.basis import (
    are_flat,
    as_control_points,
    as_like,
    lattice,
    lattice_shape,
)
from spatial_transformer.transforms.dense import DenseTransform

#: the largest relative error at which a spline may miss its own control points
MISS = 1e-2


class ThinPlateSpline(DenseTransform):
    """T_theta(p) = a + A p + sum_k w_k U(r_k), interpolating theta_k at every control point c_k.

    r_k is the distance of p from c_k, and U(r) = r^2 log r in 2-D and -r in 3-D. Bases are cached;
    see ``DenseTransform``.

    Args:
        shape: The control lattice, (rows, columns) over [-1, 1]; ``(4, 4)`` is the paper's 16.
        points: Control points ``(K, dims)`` of your own instead of a lattice.
        dims: 2 or 3.
        control: "positions" or "offsets"; see ``ControlPointTransform``.
        bound: Limit every move to this many normalised units, by tanh.
        regularisation: lambda >= 0; above 0 the points are approximated rather than interpolated.

    Raises:
        OptionError: If the points are fewer than dims + 1 or, within their precision, doubled, on
            one line or (in 3-D) on one plane; or if another option is invalid.

    Note:
        Source: the paper's section 3.2 and its reference [2] (Bookstein 1989).
        Coordinates: normalised.

    Examples:
        >>> t = ThinPlateSpline((4, 4), control="offsets")
        >>> t.num_params
        32
    """

    name = "thin_plate_spline"
    supported_dims = (2, 3)

    @on_cpu
    def __init__(
        self,
        shape: Sequence[int] | int | None = None,
        *,
        points: Tensor | None = None,
        dims: int = 2,
        control: str = "positions",
        bound: float | None = None,
        regularisation: float = 0.0,
    ) -> None:
        if points is None:
            chosen, eps = lattice(lattice_shape(shape, dims, 4)), torch.finfo(torch.float64).eps
        elif shape is not None:
            raise OptionError("thin_plate_spline takes shape= or points=, not both")
        else:
            chosen, eps = as_control_points(points, dims)
        super().__init__(chosen, dims=dims, control=control, bound=bound)
        if not isinstance(regularisation, (int, float)) or not 0 <= regularisation < math.inf:
            raise OptionError(f"regularisation must not be negative, got {regularisation!r}")
        self.regularisation = regularisation
        _check_apart(chosen, eps)
        self._solution = _solve(chosen, regularisation)
        self.constants = (chosen, self._solution)

    @staticmethod
    def _weigh(points: Tensor, eps: float, *constants: Tensor) -> tuple[Tensor, ...]:
        control, solution = constants
        return (solution.transpose(-1, -2) @ features(points, control),)

    def _move_points(self, moves: Tensor, points: Tensor, eps: float) -> Tensor:
        control, solution = (as_like(c, points) for c in self.constants)
        weights = product(moves.transpose(-1, -2), solution.transpose(-1, -2))
        return product(weights, features(points, control)).transpose(-1, -2)


def features(points: Tensor, control: Tensor) -> Tensor:
    """[U(|p - c_k|), 1, p] of points ``(..., M, dims)``: ``(..., K + 1 + dims, M)``."""
    coordinates = points.transpose(-1, -2)
    squared = None
    for x, c in zip(coordinates.unbind(-2), control.unbind(-1), strict=True):
        offset = x.unsqueeze(-2) - c.unsqueeze(-1)
        squared = offset * offset if squared is None else squared + offset * offset
    assert squared is not None
    # at a control point U and its slope are 0, but not those of its factors
    there = squared == 0
    apart = torch.where(there, 1, squared)
    radial = 0.5 * apart * apart.log() if control.shape[-1] == 2 else -apart.sqrt()
    one = torch.ones_like(coordinates[..., :1, :])
    return torch.cat([torch.where(there, 0, radial), one, coordinates], dim=-2)


def _check_apart(points: Tensor, eps: float) -> None:
    """Check that points of precision ``eps`` determine a spline.

    Raises:
        OptionError: If they are too few, on one line or plane, or doubled.
    """
    count, dims = points.shape
    if count <= dims:
        raise OptionError(f"a spline needs {dims + 1} or more control points, got {count}")
    if are_flat(points, eps):
        where = "line" if dims == 2 else "line or plane"
        raise OptionError(
            f"the {count} control points are on one {where}, for all that numbers of their "
            f"precision can tell: no spline goes through them"
        )
    largest = points.abs().amax(-1)
    nearest = 2 * eps * torch.maximum(largest, largest.unsqueeze(1))
    doubled = (points - points.unsqueeze(1)).abs().amax(-1) <= nearest
    pairs = doubled.triu(1).nonzero().tolist()
    if pairs:
        i, j = pairs[0]
        raise OptionError(
            f"control points {i} and {j} are doubled, for all that numbers of their precision can "
            f"tell: {points[i].tolist()} and {points[j].tolist()}"
        )


def _solve(points: Tensor, regularisation: float) -> Tensor:
    """The matrix that turns moves into spline weights, ``(K + 1 + dims, K)``, float64.

    Raises:
        OptionError: If the points are too close to each other, or to one line, for float64.
    """
    count, dims = points.shape
    known = features(points, points).T
    system = torch.zeros(count + 1 + dims, count + 1 + dims, dtype=torch.float64)
    system[:count] = known
    system[count:, :count] = known[:, count:].T
    system[range(count), range(count)] += regularisation
    inverse, _ = torch.linalg.inv_ex(system)
    met = system[:count] @ inverse[:, :count]
    if not (met - torch.eye(count, dtype=torch.float64)).abs().max() <= MISS:
        raise OptionError(
            f"some of the {count} control points are too near to each other, or to one line, for a "
            "spline through them to be computed in float64"
        )
    return inverse[:, :count]
