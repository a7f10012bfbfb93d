"""Diffeomorphic: the flow of a stationary velocity field, smooth and invertible."""

from collections.abc import Sequence

from torch import Tensor

from spatial_transformer.coordinates import base_grid, check_size
from spatial_transformer.errors import OptionError
from spatial_transformer.transforms.bspline import BSplineDeformation
from spatial_transformer.transforms.displacement import read_field

#: squarings at most: the first step is 2^-MOST of the field
MOST = 24


class Diffeomorphic(BSplineDeformation):
    """T_theta = exp(v): where a point arrives that follows the velocity v for a unit of time.

    v is a cubic B-spline of its control points' velocities (theta, normalised units; zero is the
    identity). It is integrated by scaling and squaring on a grid of ``resolution``.

    Args:
        shape: Control points, each axis at least 4; 6 by default.
        dims: 2 or 3.
        bound: Limit every velocity to this many normalised units, by tanh.
        steps: Squarings, 0 to 24; the first step is v / 2**steps.
        resolution: Size of the integration grid; 64 in 2-D, 32 in 3-D by default.

    Raises:
        OptionError: If ``steps`` or the lattice is invalid.
        ShapeError: If ``resolution`` is not a size.

    Note:
        Source: Arsigny et al. 2006; Dalca et al. 2018. The inverse is exp(-v).
        Coordinates: normalised; beyond the edges the displacement is that of the nearest edge, so a
        point that leaves the frame on its way is not brought back by the inverse.

    Examples:
        >>> import torch
        >>> t = Diffeomorphic()
        >>> torch.equal(t.inverse(torch.ones(1, t.num_params)), -torch.ones(1, t.num_params))
        True
    """

    name = "diffeomorphic"

    def __init__(
        self,
        shape: Sequence[int] | None = None,
        *,
        dims: int = 2,
        bound: float | None = None,
        steps: int = 7,
        resolution: Sequence[int] | int | None = None,
    ) -> None:
        super().__init__(shape, dims=dims, control="offsets", bound=bound)
        if not isinstance(steps, int) or not 0 <= steps <= MOST:
            raise OptionError(f"steps must be 0 to {MOST} squarings, got {steps!r}")
        self.steps = steps
        default = 64 if dims == 2 else 32
        self.resolution = check_size(resolution if resolution is not None else default, dims)

    def inverse(self, theta: Tensor) -> Tensor:
        """The theta of exp(-v), the inverse of exp(v).

        Raises:
            ShapeError: If theta is not ``(B, P)`` or ``(B, N, P)``.
            DTypeError: If theta is not a floating-point tensor.
        """
        return -self.check_theta(theta)

    def displacement(self, theta: Tensor) -> Tensor:
        """exp(v) - id on the integration grid: ``(..., P)`` -> ``(..., dims, *resolution)``."""
        velocity = self._move(self.moves(theta), self.resolution, True)
        regular = base_grid(self.resolution, True, dtype=theta.dtype, device=theta.device)
        regular = regular.flatten(0, -2)
        moved = velocity / 2**self.steps
        for _ in range(self.steps):
            field = moved.transpose(-1, -2).unflatten(-1, self.resolution)
            moved = moved + read_field(field, regular + moved, True)
        return moved.transpose(-1, -2).unflatten(-1, self.resolution)

    def _points(self, theta: Tensor, points: Tensor) -> Tensor:
        return points + read_field(self.displacement(theta), points, True)

    def _grid(self, theta: Tensor, size: tuple[int, ...], align_corners: bool) -> Tensor:
        points = base_grid(size, align_corners, dtype=theta.dtype, device=theta.device)
        return self._points(theta, points.flatten(0, -2)).unflatten(-2, size)
