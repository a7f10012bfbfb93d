"""Dense displacement: a field that holds the displacement of every point."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from spatial_transformer.coordinates import base_grid, check_flag, check_size, half_extent
from spatial_transformer.errors import OptionError
from spatial_transformer.samplers.bilinear import Bilinear
from spatial_transformer.samplers.eager import sample_eager
from spatial_transformer.sums import spread
from spatial_transformer.transforms.base import Transform

UNITS = ("normalised", "pixels")


def read_field(field: Tensor, points: Tensor, align_corners: bool) -> Tensor:
    """A field ``(..., K, *shape)`` at points ``(..., M, dims)``, bilinear: ``(..., M, K)``."""
    dims = points.shape[-1]
    lead = torch.broadcast_shapes(field.shape[: -dims - 1], points.shape[:-2])
    count, (depth, *shape) = math.prod(lead), field.shape[-dims - 1 :]  # no -1: it may be empty
    flat = spread(field, (*lead, depth, *shape)).reshape(count, depth, *shape)
    where = spread(points, (*lead, *points.shape[-2:])).reshape(
        count, *(1,) * (dims - 1), *points.shape[-2:]
    )
    read = sample_eager(flat, where, Bilinear(), "border", None, align_corners)
    return read.flatten(2).transpose(1, 2).reshape(*lead, points.shape[-2], depth)


class Displacement(Transform):
    """T_theta(p) = p + u(p), u a field on a grid of ``shape``, interpolated bilinearly.

    theta is (x, y[, z]) of one point after the other, row by row from the top left. Where output
    and field have one size (and ``align_corners`` is the same) each pixel has its own displacement.
    A NaN or infinite displacement reads as outside at the points that use it, and nowhere else.

    Args:
        shape: Size of the field, (rows, columns) or (planes, rows, columns); 8 by default.
        dims: 2 or 3.
        units: "normalised", or "pixels" of the field.
        align_corners: Whether the field's corner pixels are centred at -1 and 1.

    Raises:
        OptionError: If ``units`` or ``align_corners`` is invalid.
        ShapeError: If ``shape`` is not a size.

    Note:
        Source: optical flow and registration; an instance of the paper's M_theta B (section 3.2).
        Coordinates: the field's pixel centres are where a grid of that size has them.

    Examples:
        >>> Displacement((4, 4)).num_params
        32
    """

    name = "displacement"
    supported_dims = (2, 3)

    def __init__(
        self,
        shape: Sequence[int] | None = None,
        *,
        dims: int = 2,
        units: str = "normalised",
        align_corners: bool = False,
    ) -> None:
        super().__init__(dims)
        self.shape = check_size(shape if shape is not None else 8, dims)
        if units not in UNITS:
            raise OptionError(f"units must be one of {', '.join(UNITS)}, got {units!r}")
        self.units = units
        check_flag("align_corners", align_corners)
        self.align_corners = align_corners

    @property
    def num_params(self) -> int:
        """P, the number of entries of theta."""
        return self.dims * math.prod(self.shape)

    def identity(self) -> Tensor:
        """The theta of the identity, ``(P,)``, float32, on the CPU."""
        return torch.zeros(self.num_params, dtype=torch.float32, device="cpu")

    def field(self, theta: Tensor) -> Tensor:
        """Theta ``(..., P)`` as a field ``(..., dims, *shape)`` in normalised units."""
        field = theta.unflatten(-1, (*self.shape, self.dims)).movedim(-1, -self.dims - 1)
        if self.units == "normalised":
            return field
        extents = (half_extent(n, self.align_corners) for n in reversed(self.shape))
        scale = [1 / max(half, 0.5) for half in extents]  # one pixel has no extent of its own
        return field * theta.new_tensor(scale).reshape(-1, *(1,) * self.dims)

    def _points(self, theta: Tensor, points: Tensor) -> Tensor:
        return points + read_field(self.field(theta), points, self.align_corners)

    def _known(self, theta: Tensor, size: tuple[int, ...], align_corners: bool) -> Tensor:
        points = base_grid(size, align_corners, dtype=theta.dtype, device=theta.device)
        return self._known_at(theta, points.flatten(0, -2)).unflatten(-1, size)

    def _known_at(self, theta: Tensor, points: Tensor) -> Tensor:
        unknown = (~torch.isfinite(self.field(theta.detach()))).to(theta.dtype)
        touched = read_field(unknown, points.detach(), self.align_corners)
        return touched.amax(dim=-1) == 0
