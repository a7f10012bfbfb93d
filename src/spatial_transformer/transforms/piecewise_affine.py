"""Piecewise affine: a mesh of triangles (tetrahedra in 3-D are not there), each mapped affinely."""

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


class PiecewiseAffine(ControlPointTransform):
    """Inside each triangle of the mesh, the affine map that takes its corners to theta's.

    Source: the paper's section 3.2, "piecewise affine".
    Convention: normalised coordinates; theta is described by ``control``, see
    :class:`ControlPointTransform`. Points outside the mesh read as outside.

    Args:
        shape: the control lattice (rows, columns) over [-1, 1], each cell cut from its top right
            to its bottom left; (4, 4) by default. dims: 2.
        points, triangles: a mesh of your own instead: ``(K, 2)`` points and ``(T, 3)`` indices.
        control, bound: as for the thin plate spline.
    Raises: OptionError for points or indices that are none, or a triangle without an area.

    >>> PiecewiseAffine((2, 3)).num_params
    12
    """

    name = "piecewise_affine"

    @on_cpu
    def __init__(
        self,
        shape: Sequence[int] | int | None = None,
        *,
        dims: int = 2,
        points: Tensor | None = None,
        triangles: Tensor | None = None,
        control: str = "positions",
        bound: float | None = None,
    ) -> None:
        if (points is None) != (triangles is None) or (points is not None and shape is not None):
            raise OptionError("piecewise_affine takes shape=, or points= and triangles=")
        if dims != 2:
            raise OptionError(f"transform {self.name!r} works with dims=2, got dims={dims!r}")
        if points is None:
            rows, columns = lattice_shape(shape, 2, 4)
            chosen = lattice((rows, columns))
            corner = (
                torch.arange(rows - 1)[:, None] * columns + torch.arange(columns - 1)
            ).flatten()
            upper = torch.stack([corner, corner + 1, corner + columns], dim=1)
            lower = torch.stack([corner + columns + 1, corner + columns, corner + 1], dim=1)
            mesh = torch.cat([upper, lower])
        else:
            chosen = as_control_points(points, dims)
            mesh = _indices(triangles, len(chosen))
        super().__init__(chosen, control=control, bound=bound)
        corners = chosen[mesh]
        # barycentric coordinates of p: inverse of [[x0 x1 x2], [y0 y1 y2], [1 1 1]] times (p, 1)
        square = torch.cat([corners.transpose(1, 2), torch.ones(len(mesh), 1, 3).double()], dim=1)
        if (torch.linalg.det(square).abs() < 1e-12).any():
            raise OptionError("a triangle of the mesh has no area")
        self._mesh = mesh
        self._to_barycentric = torch.linalg.inv(square)

    def _barycentric(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """The triangle each point is in (or nearest to) and its coordinates in it."""
        padded = torch.cat([points, torch.ones_like(points[..., :1])], dim=-1)
        inverse = self._to_barycentric.to(points.device)
        every = torch.einsum("tij,...mj->...mti", inverse, padded)
        which = every.detach().amin(dim=-1).argmax(dim=-1)
        index = which[..., None, None].expand(*which.shape, 1, 3)
        return which, every.gather(-2, index).squeeze(-2)

    def _basis(self, points: Tensor) -> Tensor:
        which, weights = self._barycentric(points)
        nodes = self._mesh.to(points.device)[which]
        empty = weights.new_zeros(*weights.shape[:-1], len(self._control_points))
        return empty.scatter(-1, nodes, weights)

    def _covered(self, points: Tensor) -> Tensor:
        return self._barycentric(points.detach())[1].amin(dim=-1) >= -1e-9


def _indices(triangles: Tensor | Sequence[Sequence[int]] | None, count: int) -> Tensor:
    """``(T, 3)``, int64. Raises: OptionError."""
    try:
        given = torch.as_tensor(triangles)
        mesh = given.long()
    except (TypeError, ValueError, RuntimeError) as error:
        raise OptionError(f"triangles must be (T, 3) indices, got {triangles!r}") from error
    shaped = mesh.dim() == 2 and mesh.shape[1] == 3 and len(mesh) > 0
    if not shaped or mesh.min() < 0 or mesh.max() >= count or bool((mesh != given).any()):
        raise OptionError(f"triangles must be (T, 3) indices of the {count} control points")
    return mesh
