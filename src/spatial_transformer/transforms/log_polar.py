"""Log-polar coordinates (cylindrical in 3-D) about a predicted centre."""

import math

import torch
from torch import Tensor

from spatial_transformer.errors import OptionError
from spatial_transformer.sums import broadcast
from spatial_transformer.transforms.base import Transform

RADIAL = ("log", "linear")


class LogPolar(Transform):
    """Log-polar sampling: columns are radii, rows are angles about the centre theta = (tx, ty).

    x runs from ``inner`` (-1) to ``outer`` (+1), by equal ratios (``radial="log"``) or equal steps
    ("linear"); y runs once around, angle = pi y, from the negative x axis through the positive at y
    = 0. A rotation of the input about the centre rolls the rows, a change of scale shifts the
    columns. In 3-D z is unchanged: cylindrical coordinates.

    Args:
        dims: 2 or 3.
        radial: "log" or "linear".
        inner: The least radius, in normalised units.
        outer: The largest radius, in normalised units.

    Raises:
        OptionError: If ``radial`` is unknown or 0 < inner < outer does not hold.

    Note:
        Source: Esteves et al. 2018 (polar transformer networks).
        Coordinates: normalised. There is no identity: ``identity()`` is the centre (0, 0).

    Examples:
        >>> LogPolar().points(torch.zeros(1, 2), torch.tensor([[[1.0, 0.0]]]))
        tensor([[[1., 0.]]])
    """

    name = "log_polar"
    supported_dims = (2, 3)
    has_identity = False

    def __init__(
        self, dims: int = 2, *, radial: str = "log", inner: float = 0.05, outer: float = 1.0
    ) -> None:
        super().__init__(dims)
        if radial not in RADIAL:
            raise OptionError(f"radial must be one of {', '.join(RADIAL)}, got {radial!r}")
        numbers = isinstance(inner, (int, float)) and isinstance(outer, (int, float))
        if not numbers or not 0 < inner < outer < math.inf:
            raise OptionError(f"0 < inner < outer must hold, got {inner!r} and {outer!r}")
        self.radial, self.inner, self.outer = radial, inner, outer

    @property
    def num_params(self) -> int:
        """P, the number of entries of theta."""
        return 2

    def identity(self) -> Tensor:
        """The theta of the identity, ``(P,)``, float32, on the CPU."""
        return torch.zeros(2, dtype=torch.float32, device="cpu")

    def _points(self, theta: Tensor, points: Tensor) -> Tensor:
        part = (points[..., 0] + 1) / 2
        if self.radial == "log":
            radius = self.inner * torch.exp(part * math.log(self.outer / self.inner))
        else:
            radius = self.inner + part * (self.outer - self.inner)
        angle = math.pi * points[..., 1]
        tx, x = broadcast(theta[..., :1], radius * torch.cos(angle))
        ty, y = broadcast(theta[..., 1:], radius * torch.sin(angle))
        x, y = tx + x, ty + y
        depth = [points[..., 2].expand_as(x)] if self.dims == 3 else []
        return torch.stack([x, y, *depth], dim=-1)
