"""Transforms applied one after the other, with one theta."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from spatial_transformer.errors import OptionError
from spatial_transformer.transforms.base import Transform


class Compose(Transform):
    """T(p) = T_1(T_2(... T_n(p))), sampling the image once.

    The result is that of warping with ``parts[0]`` first, its output with ``parts[1]``, and so on.
    theta is the parts' thetas concatenated.

    Args:
        parts: One or more transforms of the same ``dims``.

    Raises:
        OptionError: If ``parts`` are not transforms, are none, or differ in ``dims``.

    Note:
        Coordinates: normalised, one frame for all parts.

    Examples:
        >>> from spatial_transformer.transforms.affine import Affine
        >>> from spatial_transformer.transforms.thin_plate_spline import ThinPlateSpline
        >>> Compose([Affine(), ThinPlateSpline()]).num_params
        38
    """

    name = "compose"
    supported_dims = (2, 3)

    def __init__(self, parts: Sequence[Transform]) -> None:
        listed = isinstance(parts, Iterable)
        if not listed or any(not isinstance(p, Transform) for p in parts):
            raise OptionError(f"compose takes transforms (see make_transform), got {parts!r}")
        if not parts or len({p.dims for p in parts}) != 1:
            raise OptionError("compose needs one or more transforms of the same dims")
        super().__init__(parts[0].dims)
        self.parts = torch.nn.ModuleList(parts)
        self.has_identity = all(p.has_identity for p in parts)

    @property
    def num_params(self) -> int:
        """P, the number of entries of theta."""
        return sum(p.num_params for p in self._list())

    def _list(self) -> list[Transform]:
        return list(self.parts)  # type: ignore[arg-type]

    def identity(self) -> Tensor:
        """The theta of the identity, ``(P,)``, float32, on the CPU."""
        return torch.cat([p.identity() for p in self._list()])

    def split(self, theta: Tensor) -> list[Tensor]:
        """The parts' thetas."""
        return list(theta.split([p.num_params for p in self._list()], dim=-1))

    @staticmethod
    def _through(parts: list[Transform], thetas: list[Tensor], points: Tensor) -> Tensor:
        """Map points through all parts, the last one first."""
        for part, own in reversed(list(zip(parts, thetas, strict=True))):
            # points at infinity stay there; inside the part, their gradient would be 0 * inf
            known = torch.isfinite(points).all(dim=-1, keepdim=True)
            moved = part._points(own, torch.where(known, points, 0))
            points = torch.where(known, moved, torch.inf)
        return points

    def _points(self, theta: Tensor, points: Tensor) -> Tensor:
        return self._through(self._list(), self.split(theta), points)

    def _grid(self, theta: Tensor, size: tuple[int, ...], align_corners: bool) -> Tensor:
        thetas = self.split(theta)
        *outer, inner = self._list()
        points = inner._grid(thetas[-1], size, align_corners)
        lead = points.shape[: -self.dims - 1]
        points = points.reshape(*lead, -1, self.dims)
        return self._through(outer, thetas[:-1], points).unflatten(-2, size)

    def inverse(self, theta: Tensor) -> Tensor:
        """The inverse of a single part; several parts have none.

        Raises:
            TransformError: If there are several parts, or the part has no inverse.
        """
        if len(self.parts) == 1:
            return self._list()[0].inverse(theta)
        return super().inverse(theta)
