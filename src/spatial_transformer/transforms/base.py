"""The interface of all transforms: theta in, sampling grid out."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from spatial_transformer.coordinates import (
    base_grid,
    check_flag,
    check_size,
    coordinate_dtype,
    is_count,
)
from spatial_transformer.errors import DTypeError, OptionError, ShapeError, TransformError


class Transform(nn.Module, ABC):
    """A parameterised map T_theta from output (target) to input (source) coordinates.

    A subclass sets ``name`` and ``supported_dims``, and defines ``num_params``, ``identity`` and
    ``_points``; shapes, dtypes, N transforms per image and non-finite theta are handled here.

    Args:
        dims: 2 for images, 3 for volumes.

    Raises:
        OptionError: If the family does not support ``dims``.

    Note:
        Source: the paper's equation (1) and section 3.2.
        Coordinates: normalised, ``align_corners=False`` by default.
    """

    name: ClassVar[str]
    supported_dims: ClassVar[tuple[int, ...]] = (2,)
    #: whether ``identity()`` really is the identity (log-polar coordinates have none)
    has_identity: bool = True

    def __init__(self, dims: int = 2) -> None:
        super().__init__()
        if not is_count(dims) or dims not in self.supported_dims:
            known = " or ".join(map(str, self.supported_dims))
            raise OptionError(f"transform {self.name!r} works with dims={known}, got dims={dims!r}")
        self.dims = dims

    @property
    @abstractmethod
    def num_params(self) -> int:
        """P, the width of theta."""

    @abstractmethod
    def identity(self) -> Tensor:
        """The theta of the identity, shape ``(P,)``, float32, on the CPU."""

    @abstractmethod
    def _points(self, theta: Tensor, points: Tensor) -> Tensor:
        """T_theta of points: ``(..., P)``, ``(..., M, dims)`` -> ``(..., M, dims)``.

        theta is checked, finite and float32 or wider; the points have its dtype.
        """

    def _grid(self, theta: Tensor, size: tuple[int, ...], align_corners: bool) -> Tensor:
        """T_theta of the regular grid, ``(..., *size, dims)``; families may have a faster way."""
        points = base_grid(size, align_corners, dtype=theta.dtype, device=theta.device)
        return self._points(theta, points.flatten(0, -2)).unflatten(-2, size)

    def grid(self, theta: Tensor, size: Sequence[int] | int, align_corners: bool = False) -> Tensor:
        """The sampling grid T_theta(G).

        Args:
            theta: ``(B, P)``, or ``(B, N, P)`` for N transforms an image.
            size: ``(H', W')`` or ``(D', H', W')`` of the output, in pixels.
            align_corners: Whether -1 and 1 are the corner pixels' centres rather than the image's
                edges.

        Returns:
            ``(B, *size, dims)``, or ``(B, N, *size, dims)``, in (x, y[, z]), normalised; float32 or
            wider.

        Raises:
            ShapeError: If theta has another width or rank, or ``size`` is not a size.
            DTypeError: If theta is not a floating-point tensor.
            OptionError: If ``align_corners`` is not a bool.

        Note:
            Gradient: to theta. A theta with a NaN or infinite entry gives a grid of NaN (which
            reads as outside everywhere) and the gradient zero.
        """
        theta = self.check_theta(theta)
        size = check_size(size, self.dims, least=0)
        check_flag("align_corners", align_corners)
        grid = self._grid(torch.where(torch.isfinite(theta), theta, 0), size, align_corners)
        known = self._known(theta, size, align_corners)
        return torch.where(known.unsqueeze(-1), grid, torch.nan)

    def points(self, theta: Tensor, points: Tensor) -> Tensor:
        """T_theta of any points.

        Args:
            theta: ``(B, P)``, or ``(B, N, P)``.
            points: ``(B or 1, M, dims)``, or ``(B or 1, N or 1, M, dims)``; normalised, in (x, y[,
                z]).

        Returns:
            ``(B, M, dims)``, or ``(B, N, M, dims)``.

        Raises:
            ShapeError: If theta or the points have another shape.
            DTypeError: If theta is not a floating-point tensor.
        """
        theta = self.check_theta(theta)
        if points.dim() != theta.dim() + 1 or points.shape[-1] != self.dims:
            raise ShapeError(
                f"points must be (B, M, {self.dims}) for theta {tuple(theta.shape)}, "
                f"got {tuple(points.shape)}"
            )
        points = points.to(theta.dtype)
        mapped = self._points(torch.where(torch.isfinite(theta), theta, 0), points)
        return torch.where(self._known_at(theta, points).unsqueeze(-1), mapped, torch.nan)

    def _known(self, theta: Tensor, size: tuple[int, ...], align_corners: bool) -> Tensor:
        """Where the grid is finite in spite of NaN in theta: broadcasts to ``(..., *size)``."""
        finite = torch.isfinite(theta).all(dim=-1)
        return finite.reshape(finite.shape + (1,) * self.dims)

    def _known_at(self, theta: Tensor, points: Tensor) -> Tensor:
        """Which of points ``(..., M, dims)`` are finite: broadcasts to ``(..., M)``."""
        return torch.isfinite(theta).all(dim=-1, keepdim=True)

    if TYPE_CHECKING:

        def __call__(
            self, theta: Tensor, size: Sequence[int] | int, align_corners: bool = False
        ) -> Tensor:
            """As ``grid``."""

    def forward(
        self, theta: Tensor, size: Sequence[int] | int, align_corners: bool = False
    ) -> Tensor:
        """As ``grid``."""
        return self.grid(theta, size, align_corners)

    def matrix(self, theta: Tensor) -> Tensor:
        """The matrix of T_theta, for families that have one.

        Raises:
            TransformError: If the family is not a matrix family.
        """
        raise TransformError(f"transform {self.name!r} is not a matrix family: it has no matrix")

    def inverse(self, theta: Tensor) -> Tensor:
        """The theta of the inverse map, for families that are closed under inversion.

        Raises:
            TransformError: If the family has no inverse.
        """
        raise TransformError(f"transform {self.name!r} has no inverse within its family")

    def compose(self, outer: Tensor, inner: Tensor) -> Tensor:
        """The theta of ``T_outer(T_inner(.))``, for families that are closed under composition.

        Raises:
            TransformError: If the family has no composition.
        """
        raise TransformError(f"transform {self.name!r} has no composition within its family")

    def refine(self, theta: Tensor, change: Tensor) -> Tensor:
        """``compose(theta, change)``, as cascades use it: a result outside the bounds is clamped.

        Raises:
            TransformError: If the family has no composition.
        """
        return self.compose(theta, change)

    def check_theta(self, theta: Tensor) -> Tensor:
        """Theta, checked and converted to float32 at least.

        Raises:
            ShapeError: If theta is not ``(B, P)`` or ``(B, N, P)``.
            DTypeError: If theta is not a floating-point tensor.
        """
        if not isinstance(theta, Tensor):
            raise DTypeError(f"theta must be a tensor, got {type(theta).__name__}")
        if not theta.is_floating_point():
            raise DTypeError(f"theta must be floating point, got {theta.dtype}")
        if theta.dim() not in (2, 3) or theta.shape[-1] != self.num_params:
            raise ShapeError(
                f"theta must be (B, {self.num_params}) or (B, N, {self.num_params}) for transform "
                f"{self.name!r}, got {tuple(theta.shape)}"
            )
        return theta.to(coordinate_dtype(theta))

    def _finite(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Whether each theta ``(..., 1)`` is finite, and theta with the others set to zero."""
        finite = torch.isfinite(theta).all(dim=-1, keepdim=True)
        return finite, torch.where(finite, theta, 0)

    def extra_repr(self) -> str:
        """The options shown by ``repr``."""
        return f"dims={self.dims}, num_params={self.num_params}"
