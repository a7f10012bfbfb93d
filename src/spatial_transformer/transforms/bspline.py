"""B-spline free-form deformation: a lattice of control points that bends space smoothly."""

from collections.abc import Sequence

import torch
from torch import Tensor

from spatial_transformer.cache import BASES
from spatial_transformer.coordinates import axis, on_cpu
from spatial_transformer.errors import OptionError
from spatial_transformer.samplers.bspline import BSpline
from spatial_transformer.sums import product, spread, total
from spatial_transformer.transforms.basis import ControlPointTransform, as_like, lattice_shape

CUBIC = BSpline(3)


def cubic_weights(x: Tensor, count: int) -> Tensor:
    """The cubic B-splines of ``count`` points at x in [-1, 1]: ``(..., M)`` -> ``(..., K, M)``.

    Control point i is at -1 + (i - 1) h with h = 2 / (count - 3): one lies beyond either edge, so
    the weights sum to one on all of [-1, 1].
    """
    spacing = 2 / (count - 3)
    place = torch.arange(count, dtype=x.dtype, device=x.device).unsqueeze(-1)
    return CUBIC((x.unsqueeze(-2) + 1) / spacing + 1 - place)


def axis_weights(n: int, count: int, align_corners: bool, like: Tensor) -> Tensor:
    """``cubic_weights`` at an axis's pixels, ``(K, n)``, with the dtype and device of ``like``."""

    def make() -> tuple[Tensor]:
        x = axis(n, align_corners, dtype=torch.float64, device="cpu")
        return (as_like(cubic_weights(x, count), like),)

    if torch.compiler.is_compiling():
        return make()[0]
    return BASES.get(("bspline", n, count, align_corners, like.dtype, like.device), make)[0]


class BSplineDeformation(ControlPointTransform):
    """B-spline free-form deformation: T_theta(p) = p + sum of B3 B3 (B3) times the moves.

    The control points do not lie on the deformed image, they attract it; the outermost lie beyond
    its edges. A grid is made along one axis after the other, so no basis of all its points is
    stored.

    Args:
        shape: Control points, (rows, columns) or (planes, rows, columns), each at least 4; 6 by
            default.
        dims: 2 or 3.
        control: "positions" or "offsets"; see ``ControlPointTransform``.
        bound: Limit every move to this many normalised units, by tanh.

    Raises:
        OptionError: If the lattice has fewer than 4 points an axis, or another option is invalid.

    Note:
        Source: Rueckert et al. 1999; an instance of the paper's M_theta B (section 3.2).
        Coordinates: normalised.

    Examples:
        >>> BSplineDeformation((4, 5)).num_params
        40
    """

    name = "bspline"
    supported_dims = (2, 3)

    @on_cpu
    def __init__(
        self,
        shape: Sequence[int] | int | None = None,
        *,
        dims: int = 2,
        control: str = "offsets",
        bound: float | None = None,
    ) -> None:
        shape = lattice_shape(shape, dims, 6)
        if min(shape) < 4:
            raise OptionError(
                f"a B-spline lattice needs {dims} numbers of at least 4, got {shape!r}"
            )
        self.shape = shape
        axes = [-1 + (torch.arange(n).double() - 1) * 2 / (n - 3) for n in shape]
        points = torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], dim=-1).flatten(0, -2)
        super().__init__(points, dims=dims, control=control, bound=bound)

    def _move(self, moves: Tensor, size: tuple[int, ...], align_corners: bool) -> Tensor:
        *outer, last = (
            axis_weights(n, count, align_corners, moves)
            for n, count in zip(size, self.shape, strict=True)
        )
        # along x, y and z: (..., dims, [planes,] rows, columns) -> (..., dims, prod(size))
        moved = product(moves.transpose(-1, -2).unflatten(-1, self.shape), last)
        for weights in reversed(outer):
            moved = product(weights.T, moved).flatten(-2)
        return moved.transpose(-1, -2)

    def _move_points(self, moves: Tensor, points: Tensor, eps: float) -> Tensor:
        rows = moves.transpose(-1, -2).unflatten(-1, self.shape).flatten(-self.dims - 1, -2)
        x, *others = points.unbind(-1)
        moved = product(rows, cubic_weights(x, self.shape[-1]))
        for k, coordinate in enumerate(others, start=2):
            moved = moved.unflatten(-2, (-1, self.shape[-k]))
            weights = cubic_weights(coordinate, self.shape[-k]).unsqueeze(-3)
            moved = total(moved * spread(weights, moved.shape), -2)
        return moved.transpose(-1, -2)
