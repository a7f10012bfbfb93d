"""The matrix families' common part: translation, attention, similarity, affine, projective."""

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from spatial_transformer.coordinates import axes, is_concrete
from spatial_transformer.errors import OptionError, TransformError
from spatial_transformer.sums import broadcast
from spatial_transformer.transforms.base import Transform

Fixed = Mapping[str, float] | Mapping[int, float] | None


def homogeneous(matrix: Tensor) -> Tensor:
    """``(..., d, d + 1)`` -> ``(..., d + 1, d + 1)``; a square matrix is returned as it is."""
    rows, columns = matrix.shape[-2:]
    if rows == columns:
        return matrix
    last = matrix.new_zeros(columns)
    last[-1] = 1
    return torch.cat([matrix, last.expand(*matrix.shape[:-2], 1, columns)], dim=-2)


def multiply(a: Tensor, b: Tensor) -> Tensor:
    """``a @ b`` for tiny matrices, elementwise: unaffected by autocast and by the batch size."""
    return (a.unsqueeze(-1) * b.unsqueeze(-3)).sum(dim=-2)


def invert(matrix: Tensor) -> Tensor:
    """The inverse of ``(..., n, n)``; a singular matrix gives NaN, with gradient zero."""
    with torch.no_grad():
        regular = (torch.linalg.inv_ex(matrix).info == 0)[..., None, None]
    identity = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    inverse, _ = torch.linalg.inv_ex(torch.where(regular, matrix, identity))
    return torch.where(regular, inverse, torch.nan)


def refuse(outside: Tensor, why: str) -> None:
    """Refuse a result outside a family; where values are not available, callers make it NaN.

    Raises:
        TransformError: If anything is outside.
    """
    if is_concrete(outside) and bool(outside.any()):
        raise TransformError(why)


def grid_from_matrix(matrix: Tensor, size: tuple[int, ...], align_corners: bool) -> Tensor:
    """Equation (1) at every output pixel.

    Args:
        matrix: ``(..., d, d + 1)``; or square, projective: points at or behind the horizon are
            infinitely far (outside).
        size: Size of the output, in pixels.
        align_corners: Whether -1 and 1 are the corner pixels' centres.

    Returns:
        ``(..., *size, d)``, normalised.
    """
    coordinates = axes(size, align_corners, dtype=matrix.dtype, device=matrix.device)
    return _at(matrix, coordinates, len(size))


def _at(matrix: Tensor, coordinates: Sequence[Tensor], spatial: int) -> Tensor:
    """The matrix at coordinates, one tensor each, whose last ``spatial`` axes are positions."""
    entries = matrix.reshape(matrix.shape + (1,) * spatial)
    rows = []
    for row in entries.unbind(-spatial - 2):
        *weights, value = row.unbind(-spatial - 1)
        # the constant is added on the x axis, so that only one sum of a grid has the full size
        for weight, coordinate in zip(weights, coordinates, strict=True):
            weight, coordinate = broadcast(weight, coordinate)
            value, weighed = broadcast(value, weight * coordinate)
            value = value + weighed
        rows.append(value)
    dims = len(coordinates)
    points = torch.stack(rows[:dims], dim=-1)
    return points if len(rows) == dims else project(points, rows[dims].unsqueeze(-1))


def project(points: Tensor, depth: Tensor) -> Tensor:
    """The quotient points / depth; infinite, without gradient, where depth <= 0 or on overflow."""
    in_front = depth.detach() > torch.finfo(depth.dtype).eps
    far = points.detach() * (1 / torch.where(in_front, depth.detach(), 1))
    # the unused branch and its derivative must be finite; a quotient's might not be
    near = in_front & torch.isfinite(far).all(dim=-1, keepdim=True)
    projected = torch.where(near, points, 0) * (1 / torch.where(near, depth, 1))
    return torch.where(near, projected, torch.inf)


def apply_matrix(matrix: Tensor, points: Tensor) -> Tensor:
    """The matrix ``(..., d, d + 1)`` (square: projective) at points ``(..., M, d)``."""
    return _at(matrix, points.unbind(-1), 1)


class MatrixTransform(Transform):
    """A family whose T_theta is a matrix applied to homogeneous coordinates.

    A subclass defines ``_names`` (its parameters), ``_matrix``, ``_from_matrix`` and
    ``_full_identity``.

    Args:
        dims: 2 or 3, as the family supports.
        fixed: Entries that are not predicted, as ``{name: value}`` or ``{position: value}``; theta
            then holds the others, in their order.

    Raises:
        OptionError: If ``fixed`` names no parameter, fixes all of them, or has a value that is not
            a finite number.
    """

    #: whether the matrix alone determines the grid, with no override in a subclass
    is_its_matrix: ClassVar[bool] = True

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        made_of = ("grid", "_grid", "_known", "matrix")
        cls.is_its_matrix = all(getattr(cls, n) is getattr(MatrixTransform, n) for n in made_of)

    def __init__(self, dims: int = 2, *, fixed: Fixed = None) -> None:
        super().__init__(dims)
        names = self._names()
        values: dict[str, float] = {}
        if fixed is not None and not isinstance(fixed, Mapping):
            raise OptionError(f"fixed must be {{name: value}}, got {fixed!r}")
        for key, value in (fixed or {}).items():
            if isinstance(key, int) and 0 <= key < len(names):
                key = names[key]
            if key not in names:
                raise OptionError(
                    f"fixed={dict(fixed or {})!r}: transform {self.name!r} has no parameter "
                    f"{key!r}; it has {', '.join(names)}"
                )
            try:
                values[str(key)] = float(value)
            except (TypeError, ValueError):
                values[str(key)] = math.nan
            if not math.isfinite(values[str(key)]):
                raise OptionError(f"fixed[{key!r}] must be a finite number, got {value!r}")
        if len(values) == len(names):
            raise OptionError(f"fixed= leaves transform {self.name!r} nothing to predict")
        self.fixed = values
        identity = dict(zip(names, self._full_identity(), strict=True))
        if any(value != identity[name] for name, value in values.items()):
            self.has_identity = False
        #: the names of theta's entries
        self.param_names = tuple(n for n in names if n not in values)

    @abstractmethod
    def _names(self) -> tuple[str, ...]:
        """The names of the family's parameters, fixed ones included, in theta's order."""

    @abstractmethod
    def _matrix(self, full: Tensor) -> Tensor:
        """The matrix ``(..., d, d + 1)`` of the full, finite parameters ``(..., F)``."""

    @abstractmethod
    def _from_matrix(self, matrix: Tensor) -> Tensor:
        """The full parameters ``(..., F)`` of a matrix of this family."""

    @abstractmethod
    def _full_identity(self) -> list[float]:
        """The full parameters of the identity."""

    @property
    def num_params(self) -> int:
        """P, the number of entries of theta."""
        return len(self.param_names)

    def identity(self) -> Tensor:
        """The theta of the identity, ``(P,)``, float32, on the CPU."""
        values = dict(zip(self._names(), self._full_identity(), strict=True))
        chosen = [values[n] for n in self.param_names]
        return torch.tensor(chosen, dtype=torch.float32, device="cpu")

    def full_theta(self, theta: Tensor) -> Tensor:
        """Theta with the fixed entries inserted: ``(..., P)`` -> ``(..., F)``."""
        if not self.fixed:
            return theta
        predicted = dict(zip(self.param_names, theta.unbind(-1), strict=True))
        like = theta[..., 0]
        columns = [
            predicted[n] if n in predicted else torch.full_like(like, self.fixed[n])
            for n in self._names()
        ]
        return torch.stack(columns, dim=-1)

    def values(self, theta: Tensor) -> Tensor:
        """The parameters theta stands for, ``(..., P)`` -> ``(..., P)``, bounds applied."""
        return theta

    def matrix(self, theta: Tensor) -> Tensor:
        """The matrix A_theta.

        Args:
            theta: ``(B, P)``, or ``(B, N, P)``.

        Returns:
            ``(B, d, d + 1)``, projective ``(B, d + 1, d + 1)``; ``(B, N, ...)`` for N transforms. A
            theta that is not finite gives a matrix of NaN.

        Raises:
            ShapeError: If theta has another width or rank.
            DTypeError: If theta is not a floating-point tensor.
        """
        finite, safe = self._finite(self.check_theta(theta))
        return torch.where(finite.unsqueeze(-1), self._matrix(self.full_theta(safe)), torch.nan)

    def matrix_for_kernels(self, theta: Tensor) -> Tensor:
        """``matrix`` for the backends, or theta itself where it is the affine matrix row by row.

        Backends treat a matrix that is not finite as outside, with gradient zero.
        """
        return self.matrix(theta)

    def from_matrix(self, matrix: Tensor) -> Tensor:
        """The theta of a matrix of this family, the inverse of ``matrix``.

        Raises:
            TransformError: If the matrix contradicts the ``fixed`` entries.
        """
        full = self._from_matrix(matrix)
        names = self._names()
        for name, value in self.fixed.items():
            entry = full[..., names.index(name)]
            other = (entry - value).abs() > 1e-6 + 1e-5 * abs(value)
            refuse(
                other,
                f"the result has {name} other than the {value} fixed in this "
                f"{self.name!r}: it is outside the family (use the family without fixed=)",
            )
            full = torch.where((other | entry.isnan()).unsqueeze(-1), torch.nan, full)
        return full[..., [i for i, n in enumerate(names) if n not in self.fixed]]

    def inverse(self, theta: Tensor) -> Tensor:
        """The theta of the inverse map, ``(B, P)`` -> ``(B, P)``.

        A singular matrix, and a theta that is not finite, give NaN, which reads as outside, with
        gradient zero.

        Raises:
            ShapeError: If theta has another width or rank.
            DTypeError: If theta is not a floating-point tensor.
            TransformError: If ``fixed`` entries exclude the result.
        """
        finite, safe = self._finite(self.check_theta(theta))
        inverse = self._trim(invert(homogeneous(self.matrix(safe))))
        return self.from_matrix(torch.where(finite.unsqueeze(-1), inverse, torch.nan))

    def compose(self, outer: Tensor, inner: Tensor) -> Tensor:
        """The theta of ``T_outer(T_inner(.))``: warp with ``outer``, then that with ``inner``.

        A theta that is not finite gives NaN, with gradient zero to both.

        Raises:
            ShapeError: If a theta has another width or rank.
            DTypeError: If a theta is not a floating-point tensor.
            TransformError: If ``fixed`` entries exclude the result.
        """
        return self.from_matrix(self._product(outer, inner))

    def _product(self, outer: Tensor, inner: Tensor) -> Tensor:
        # of finite numbers, as the gradient of a product by NaN is NaN in all networks before it
        (known_outer, outer), (known_inner, inner) = (
            self._finite(self.check_theta(theta)) for theta in (outer, inner)
        )
        outer, inner = (homogeneous(self.matrix(theta)) for theta in (outer, inner))
        known = (known_outer & known_inner).unsqueeze(-1)
        return torch.where(known, self._trim(multiply(outer, inner)), torch.nan)

    def _trim(self, square: Tensor) -> Tensor:
        return square[..., : self.dims, :]

    def _grid(self, theta: Tensor, size: tuple[int, ...], align_corners: bool) -> Tensor:
        return grid_from_matrix(self._matrix(self.full_theta(theta)), size, align_corners)

    def _points(self, theta: Tensor, points: Tensor) -> Tensor:
        return apply_matrix(self._matrix(self.full_theta(theta)), points)

    def extra_repr(self) -> str:
        """The options shown by ``repr``."""
        fixed = f", fixed={self.fixed}" if self.fixed else ""
        return super().extra_repr() + fixed
