"""B-spline free-form deformation: a lattice of control points that bends space smoothly."""

from collections.abc import Sequence

import torch
from torch import Tensor

from spatial_transformer.coordinates import on_cpu
from spatial_transformer.errors import OptionError
from spatial_transformer.samplers.bspline import BSpline
from spatial_transformer.transforms.basis import ControlPointTransform, lattice_shape

CUBIC = BSpline(3)


def cubic_weights(x: Tensor, count: int) -> Tensor:
    """The cubic B-splines of ``count`` control points at x in [-1, 1]: ``(...)`` -> ``(..., K)``.

    Control point i is at -1 + (i - 1) h with h = 2 / (count - 3): one lies beyond either edge, so
    the weights sum to one on all of [-1, 1].
    """
    spacing = 2 / (count - 3)
    place = torch.arange(count, dtype=x.dtype, device=x.device)
    return CUBIC((x.unsqueeze(-1) + 1) / spacing + 1 - place)


class BSplineDeformation(ControlPointTransform):
    """T_theta(p) = p + sum over control points of B3 B3 (B3) times their moves.

    Source: Rueckert et al. 1999; an instance of the paper's M_theta B (section 3.2).
    Convention: normalised coordinates; theta is described by ``control``, see
    :class:`ControlPointTransform`. The control points do not lie on the deformed image, they pull
    at it; the outermost lie beyond its edges.

    Args:
        shape: control points, (rows, columns) or (planes, rows, columns), each at least 4;
            6 by default.

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

    def _basis(self, points: Tensor) -> Tensor:
        weights = cubic_weights(points[..., -1], self.shape[0])
        for k, n in enumerate(self.shape[1:], start=2):
            weights = weights.unsqueeze(-1) * cubic_weights(points[..., -k], n).unsqueeze(-2)
            weights = weights.flatten(-2)
        return weights
