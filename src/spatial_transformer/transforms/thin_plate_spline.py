"""Thin plate spline: the smoothest map that moves the control points as told."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from spatial_transformer.coordinates import on_cpu
from spatial_transformer.errors import OptionError
from spatial_transformer.transforms.basis import (
    ControlPointTransform,
    as_control_points,
    lattice,
    lattice_shape,
)


class ThinPlateSpline(ControlPointTransform):
    """T_theta(p) = a + A p + sum_k w_k U(|p - c_k|), with U(r) = r^2 log r in 2-D and -r in 3-D,
    interpolating (x, y) = theta_k at every control point c_k.

    Source: the paper's section 3.2 and its reference [2] (Bookstein 1989).
    Convention: normalised coordinates. theta is described by ``control``; see
    :class:`ControlPointTransform`.

    Args:
        shape: the control lattice, (rows, columns) over [-1, 1]; ``(4, 4)`` is the paper's 16.
        points: control points ``(K, dims)`` of your own instead of a lattice.
        control: ``"positions"`` or ``"offsets"``.
        bound: keep every move within this many normalised units, by tanh.
        regularisation: lambda >= 0; above 0 the points are approached rather than met.
    Raises: OptionError if the points are fewer than dims + 1, doubled, or on one line.

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
            chosen = lattice(lattice_shape(shape, dims, 4))
        elif shape is not None:
            raise OptionError("thin_plate_spline takes shape= or points=, not both")
        else:
            chosen = as_control_points(points, dims)
        super().__init__(chosen, dims=dims, control=control, bound=bound)
        if not isinstance(regularisation, (int, float)) or not 0 <= regularisation < math.inf:
            raise OptionError(f"regularisation must not be negative, got {regularisation!r}")
        self.regularisation = regularisation
        self._solution = self._solve()

    def _features(self, points: Tensor) -> Tensor:
        """[U(|p - c_k|), 1, p] of points ``(..., M, dims)``: ``(..., M, K + 1 + dims)``."""
        offset = points.unsqueeze(-2) - self._control_points.to(points.device)
        squared = (offset * offset).sum(-1)
        radial = 0.5 * torch.xlogy(squared, squared) if self.dims == 2 else -squared.sqrt()
        return torch.cat([radial, torch.ones_like(points[..., :1]), points], dim=-1)

    def _solve(self) -> Tensor:
        """The matrix that turns moves into spline weights, ``(K + 1 + dims, K)``, float64."""
        count, dims = self._control_points.shape
        features = self._features(self._control_points)
        system = torch.zeros(count + 1 + dims, count + 1 + dims, dtype=torch.float64)
        system[:count] = features
        system[count:, :count] = features[:, count:].T
        system[range(count), range(count)] += self.regularisation
        rank = torch.linalg.matrix_rank(features[:, count:])
        doubled = torch.unique(self._control_points, dim=0).shape[0] < count
        if rank <= dims or doubled:
            raise OptionError(
                f"the {count} control points are doubled, on one line, or fewer than {dims + 1}: "
                "no spline goes through them"
            )
        return torch.linalg.inv(system)[:, :count]

    def _basis(self, points: Tensor) -> Tensor:
        return self._features(points) @ self._solution.to(points.device)
