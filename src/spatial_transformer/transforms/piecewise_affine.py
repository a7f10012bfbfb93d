"""Piecewise affine: a mesh of triangles, each mapped affinely; 2-D only."""

from collections.abc import Sequence

import torch
from torch import Tensor

from spatial_transformer.coordinates import on_cpu
from spatial_transformer.errors import OptionError
from spatial_transformer.transforms.basis import (
    are_flat,
    as_control_points,
    lattice,
    lattice_shape,
)
from spatial_transformer.transforms.dense import DenseTransform


class PiecewiseAffine(DenseTransform):
    """Inside each triangle of the mesh, the affine map that takes its corners to theta's.

    Points outside the mesh read as outside. Bases are cached; see ``DenseTransform``.

    Args:
        shape: The control lattice (rows, columns) over [-1, 1], each cell cut from its top right to
            its bottom left; (4, 4) by default.
        dims: 2.
        points: Points ``(K, 2)`` of your own mesh, instead of a lattice.
        triangles: Its triangles, ``(T, 3)`` indices of points.
        control: "positions" or "offsets"; see ``ControlPointTransform``.
        bound: Limit every move to this many normalised units, by tanh.

    Raises:
        OptionError: If points or indices are invalid, or a triangle has no area within the points'
            precision.

    Note:
        Source: the paper's section 3.2, "piecewise affine".
        Coordinates: normalised.

    Examples:
        >>> PiecewiseAffine((2, 3)).num_params
        12
    """

    name = "piecewise_affine"
    partial = True

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
            chosen, eps = lattice((rows, columns)), torch.finfo(torch.float64).eps
            corner = (
                torch.arange(rows - 1)[:, None] * columns + torch.arange(columns - 1)
            ).flatten()
            upper = torch.stack([corner, corner + 1, corner + columns], dim=1)
            lower = torch.stack([corner + columns + 1, corner + columns, corner + 1], dim=1)
            mesh = torch.cat([upper, lower])
        else:
            chosen, eps = as_control_points(points, dims)
            mesh = _indices(triangles, len(chosen))
        super().__init__(chosen, control=control, bound=bound)
        corners = chosen[mesh]
        flat = are_flat(corners, eps).nonzero().flatten().tolist()
        if flat:
            raise OptionError(
                f"triangle {flat[0]} of the mesh has no area, for all that numbers of its points' "
                f"precision can tell: {corners[flat[0]].tolist()}"
            )
        # from a point's offset to the first corner to its barycentric coordinates to the others
        sides = (corners[:, 1:] - corners[:, :1]).transpose(1, 2)
        self.constants = (chosen, mesh, torch.linalg.inv(sides))

    @staticmethod
    def _weigh(points: Tensor, eps: float, *constants: Tensor) -> tuple[Tensor, ...]:
        control, mesh, inverse = constants
        first = control[mesh[:, 0]]
        with torch.no_grad():  # which triangle each point is in, or nearest to
            every = _barycentric(points.unsqueeze(-2), first, inverse)
            which = every.amin(dim=-1).argmax(dim=-1)
        weights = _barycentric(points, first[which], inverse[which])
        empty = weights.new_zeros(*weights.shape[:-1], len(control))
        basis = empty.scatter(-1, mesh[which], weights).transpose(-1, -2)
        # rounding may put points on an edge to either side of it
        scale = points.detach().abs().amax(-1).clamp(min=1)
        rounding = 8 * eps * inverse.abs().sum((-1, -2))[which] * scale
        return basis, weights.detach().amin(dim=-1) >= -rounding


def _barycentric(points: Tensor, first: Tensor, inverse: Tensor) -> Tensor:
    """Barycentric coordinates of points ``(..., 2)`` in triangles: ``(..., 3)``."""
    offset = (points - first).unsqueeze(-2)
    second, third = (inverse * offset).sum(-1).unbind(-1)
    return torch.stack([1 - second - third, second, third], dim=-1)


def _indices(triangles: Tensor | Sequence[Sequence[int]] | None, count: int) -> Tensor:
    """The triangles as ``(T, 3)``, int64.

    Raises:
        OptionError: If they are not ``(T, 3)`` indices of the ``count`` control points.
    """
    try:
        indices = torch.as_tensor(triangles)
        mesh = indices.long()
    except (TypeError, ValueError, RuntimeError) as error:
        raise OptionError(f"triangles must be (T, 3) indices, got {triangles!r}") from error
    shaped = mesh.dim() == 2 and mesh.shape[1] == 3 and len(mesh) > 0
    if not shaped or mesh.min() < 0 or mesh.max() >= count or bool((mesh != indices).any()):
        raise OptionError(f"triangles must be (T, 3) indices of the {count} control points")
    return mesh
