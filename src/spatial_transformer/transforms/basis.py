"""Families that are one product with a fixed basis: grid = G + B (theta - identity)."""

import math
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor

from spatial_transformer.coordinates import base_grid, check_size, full_precision, is_count
from spatial_transformer.errors import OptionError, ShapeError
from spatial_transformer.transforms.base import Transform

#: how theta speaks of control points: where they are, or how far they have moved
CONTROLS = ("positions", "offsets")

#: bases a transform keeps; networks see few sizes, and one of 512x512 takes 17 MB
KEPT = 16


def as_control_points(points: Tensor | Sequence[Sequence[float]], dims: int) -> Tensor:
    """``(K, dims)``, float64. Raises: OptionError."""
    try:
        chosen = torch.as_tensor(points).detach().to(torch.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise OptionError(f"control points must be (K, {dims}) numbers, got {points!r}") from error
    if chosen.dim() != 2 or chosen.shape[1] != dims:
        raise OptionError(f"control points must be (K, {dims}), got {tuple(chosen.shape)}")
    return chosen


class ControlPointTransform(Transform):
    """Control points c_k that move; every grid point is a fixed linear function of the moves.

    Source: the paper's T_theta = M_theta B (section 3.2).
    theta is (x, y) of one control point after the other, points row by row from the top left:
    their source positions (``control="positions"``) or their moves (``"offsets"``), of which zero
    is the identity. ``bound`` (normalised units) squashes the moves with bound * tanh(move/bound).

    A subclass gives the control points and ``_basis``. Moves enter the product rather than
    positions, so the identity is exact.
    """

    def __init__(
        self,
        points: Tensor,
        *,
        dims: int = 2,
        control: str = "positions",
        bound: float | None = None,
    ) -> None:
        super().__init__(dims)
        if control not in CONTROLS:
            raise OptionError(f"control must be one of {', '.join(CONTROLS)}, got {control!r}")
        if bound is not None and not (isinstance(bound, (int, float)) and 0 < bound < math.inf):
            raise OptionError(f"bound must be positive and finite, got {bound!r}")
        if not torch.isfinite(points).all():
            raise OptionError("control points must be finite")
        self.control = control
        self.bound = bound
        self._control_points = points  # (K, dims), float64; no buffer: Module.half() would round it
        self._bases: dict[tuple[object, ...], tuple[Tensor, Tensor, Tensor | None]] = {}

    @property
    def num_params(self) -> int:
        return self._control_points.numel()

    @property
    def control_points(self) -> Tensor:
        """Their positions under the identity, ``(K, dims)``, float64."""
        return self._control_points

    def identity(self) -> Tensor:
        theta = self._control_points.flatten().float()
        return theta if self.control == "positions" else torch.zeros_like(theta)

    def check_theta(self, theta: Tensor) -> Tensor:
        wide = super().check_theta(theta)
        if self.control == "offsets" or theta.dtype == torch.float32:
            return wide
        # a point as float32 has it (identity() has) or half precision means that point itself
        narrow = torch.float32 if theta.dtype == torch.float64 else theta.dtype
        points = self._control_points.to(wide.device).flatten()
        rounded = points.to(narrow).to(wide)
        return wide + torch.where(wide.detach() == rounded, points.to(wide) - rounded, 0)

    @abstractmethod
    def _basis(self, points: Tensor) -> Tensor:
        """The weight of each move at each point: ``(..., M, dims)`` -> ``(..., M, K)``, float64."""

    def _covered(self, points: Tensor) -> Tensor | None:
        """Which points the control points say anything of, ``(..., M)``; None for all."""
        return None

    def moves(self, theta: Tensor, points: Tensor) -> Tensor:
        """How far theta moves each control point: ``(..., P)`` -> ``(..., K, dims)``."""
        moves = theta.unflatten(-1, points.shape)
        if self.control == "positions":
            moves = moves - points
        return moves if self.bound is None else self.bound * torch.tanh(moves / self.bound)

    def basis(
        self, size: tuple[int, ...], align_corners: bool, like: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """B of the output grid ``(prod(size), K)``, the control points, what is covered; as
        ``like``. Computed once in float64, then kept (the newest ``KEPT``).
        """
        key = (size, align_corners, like.dtype, like.device)
        symbolic = any(isinstance(n, torch.SymInt) for n in size)  # has no hash
        found = None if symbolic else self._bases.get(key)
        if found is None:
            compiling = torch.compiler.is_compiling()
            # inference mode's tensors are of no use to later training
            with nullcontext() if compiling else torch.inference_mode(False):
                found = self._make_basis(size, align_corners, like)
            # neither a graph's nor a fake tensor may be kept
            if not symbolic and type(found[0]) is Tensor and not compiling:
                for oldest in list(self._bases)[: 1 - KEPT]:
                    self._bases.pop(oldest, None)  # which another thread may have done
                self._bases[key] = found
        return found

    def _make_basis(
        self, size: tuple[int, ...], align_corners: bool, like: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        points = base_grid(size, align_corners, dtype=torch.float64, device="cpu").flatten(0, -2)
        covered = self._covered(points)
        return (
            self._basis(points).to(like.device, like.dtype),
            self._control_points.to(like.device, like.dtype),
            None if covered is None else covered.to(like.device),
        )

    def _grid(self, theta: Tensor, size: tuple[int, ...], align_corners: bool) -> Tensor:
        basis, control, covered = self.basis(size, align_corners, theta)
        regular = base_grid(size, align_corners, dtype=theta.dtype, device=theta.device)
        moved = self._combine(basis, self.moves(theta, control), covered)
        return regular + moved.unflatten(-2, size)

    def _points(self, theta: Tensor, points: Tensor) -> Tensor:
        where = points.double()
        basis = self._basis(where).to(theta)
        covered = self._covered(where)
        return points + self._combine(
            basis, self.moves(theta, self._control_points.to(theta)), covered
        )

    @staticmethod
    def _combine(basis: Tensor, moves: Tensor, covered: Tensor | None) -> Tensor:
        with full_precision(moves.device):
            moved = basis @ moves
        return moved if covered is None else torch.where(covered.unsqueeze(-1), moved, torch.inf)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_bases": {}}  # cheap to make again


def lattice_shape(shape: Sequence[int] | int | None, dims: int, default: int) -> tuple[int, ...]:
    """A control lattice's (rows, columns) or (planes, rows, columns); an int (``default`` for None)
    means that many on every axis. Raises: OptionError.

    >>> lattice_shape(5, 2, 4), lattice_shape((2, 3), 2, 4), lattice_shape(None, 3, 4)
    ((5, 5), (2, 3), (4, 4, 4))
    """
    if not is_count(dims) or dims not in (2, 3):
        raise OptionError(f"dims must be 2 or 3, got {dims!r}")
    given = default if shape is None else shape
    try:
        return check_size(given, dims)
    except ShapeError as error:
        raise OptionError(
            f"a control lattice's shape must be {dims} positive whole numbers, got {shape!r}"
        ) from error


def lattice(shape: tuple[int, ...]) -> Tensor:
    """Control points on a regular lattice over [-1, 1], ``(K, dims)``, float64.

    ``shape`` is (rows, columns) or (planes, rows, columns), each at least 2.
    Raises: OptionError.
    """
    if any(not isinstance(n, int) or n < 2 for n in shape):
        raise OptionError(f"a control lattice needs at least 2 points on every axis, got {shape!r}")
    return base_grid(shape, align_corners=True, dtype=torch.float64).flatten(0, -2)
