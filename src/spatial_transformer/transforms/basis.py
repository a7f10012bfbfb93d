"""Families of moving control points: grid = G + (theta - identity) B."""

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spatial_transformer.coordinates import base_grid, check_size, is_count
from spatial_transformer.errors import OptionError, ShapeError
from spatial_transformer.transforms.base import Transform

#: the meaning of theta: the control points' positions, or their moves
CONTROLS = ("positions", "offsets")

#: devices that have float64
FLOAT64 = ("cpu", "cuda")


def as_control_points(points: Any, dims: int) -> tuple[Tensor, float]:
    """Control points as ``(K, dims)``, float64 on the CPU, and the precision (eps) of the input.

    Raises:
        OptionError: If they are not ``(K, dims)`` numbers.
    """
    try:
        plain = points.detach().cpu() if isinstance(points, Tensor) else np.asarray(points)
        tensor = torch.as_tensor(plain)
        control_points = tensor.to(torch.float64)
    except (TypeError, ValueError, RuntimeError) as error:
        raise OptionError(f"control points must be (K, {dims}) numbers, got {points!r}") from error
    if control_points.dim() != 2 or control_points.shape[1] != dims:
        raise OptionError(f"control points must be (K, {dims}), got {tuple(control_points.shape)}")
    return control_points, torch.finfo(
        tensor.dtype if tensor.is_floating_point() else control_points.dtype
    ).eps


def are_flat(points: Tensor, eps: float) -> Tensor:
    """Whether points ``(..., K, dims)``, float64, may lie on one line (3-D: one plane): ``(...)``.

    Within what coordinates of precision ``eps`` can tell; judged by the point furthest from the
    line (plane) that best fits all of them.
    """
    centred = points - points.mean(dim=-2, keepdim=True)
    normal = torch.linalg.svd(centred, full_matrices=False)[2][..., -1, :]
    furthest = (centred * normal.unsqueeze(-2)).sum(-1).abs().amax(-1)
    # points are rounded about twice when computed, and here in float64
    rounding = 2 * eps + 8 * torch.finfo(torch.float64).eps
    return furthest <= rounding * points.abs().amax((-1, -2))


def in_float64(tensor: Tensor) -> Tensor:
    """A tensor in float64, on the CPU where its device does not support that.

    A tensor on the meta device has no values that could be exact, and is returned unchanged.
    """
    if tensor.device.type == "meta":
        return tensor
    return (tensor if tensor.device.type in FLOAT64 else tensor.cpu()).double()


def as_like(constant: Tensor, tensor: Tensor) -> Tensor:
    """A float64 constant on the CPU, converted to ``tensor``'s dtype and device."""
    return constant.to(tensor.dtype).to(tensor.device)


class ControlPointTransform(Transform):
    """Control points c_k that move; every grid point is a fixed linear function of their moves.

    theta is (x, y) of one control point after the other, points row by row from the top left: their
    source positions (``control="positions"``) or their moves (``"offsets"``), of which zero is the
    identity. What the moves do to arbitrary points is computed in float64, on the CPU if the
    points' device has no float64 (Apple's).

    A subclass provides the control points, ``_move`` and ``_move_points``. Moves enter the product
    rather than positions, so the identity is exact.

    Args:
        points: Control points ``(K, dims)``, float64, normalised.
        dims: 2 or 3.
        control: "positions" or "offsets".
        bound: Squash the moves with bound * tanh(move / bound); in normalised units.

    Raises:
        OptionError: If ``control`` or ``bound`` is invalid, or a point is not finite.

    Note:
        Source: the paper's T_theta = M_theta B (section 3.2).
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

    @property
    def num_params(self) -> int:
        """P, the number of entries of theta."""
        return self._control_points.numel()

    @property
    def control_points(self) -> Tensor:
        """Their positions under the identity, ``(K, dims)``, float64, normalised."""
        return self._control_points

    def identity(self) -> Tensor:
        """The theta of the identity, ``(P,)``, float32, on the CPU."""
        theta = self._control_points.flatten().float()
        return theta if self.control == "positions" else torch.zeros_like(theta)

    def check_theta(self, theta: Tensor) -> Tensor:
        """``Transform.check_theta``; a control point rounded to theta's dtype means the point."""
        wide = super().check_theta(theta)
        if self.control == "offsets" or theta.dtype == torch.float32:
            return wide
        # a point rounded to float32 (as in identity()) or half precision means the exact point
        narrow = torch.float32 if theta.dtype == torch.float64 else theta.dtype
        points = self._control_points.flatten()
        rounded = points.to(narrow).to(wide.dtype)
        error = as_like(points.to(wide.dtype) - rounded, wide)
        return wide + torch.where(wide.detach() == as_like(rounded, wide), error, 0)

    @abstractmethod
    def _move(self, moves: Tensor, size: tuple[int, ...], align_corners: bool) -> Tensor:
        """Moves ``(..., K, dims)`` applied to a grid's points: ``(..., prod(size), dims)``."""

    @abstractmethod
    def _move_points(self, moves: Tensor, points: Tensor, eps: float) -> Tensor:
        """Moves ``(..., K, dims)`` applied to points ``(..., M, dims)``: ``(..., M, dims)``.

        Both are float64 (see ``in_float64``); the points were given in precision ``eps``.
        """

    def moves(self, theta: Tensor) -> Tensor:
        """How far theta moves each control point: ``(..., P)`` -> ``(..., K, dims)``."""
        moves = theta.unflatten(-1, self._control_points.shape)
        if self.control == "positions":
            moves = moves - as_like(self._control_points, theta)
        return moves if self.bound is None else self.bound * torch.tanh(moves / self.bound)

    def _grid(self, theta: Tensor, size: tuple[int, ...], align_corners: bool) -> Tensor:
        regular = base_grid(size, align_corners, dtype=theta.dtype, device=theta.device)
        moved = self._move(self.moves(theta), size, align_corners)
        return regular + moved.unflatten(-2, size)

    def _points(self, theta: Tensor, points: Tensor) -> Tensor:
        eps = torch.finfo(points.dtype).eps
        moved = self._move_points(in_float64(self.moves(theta)), in_float64(points), eps)
        return points + moved.to(points.dtype).to(points.device)


def lattice_shape(shape: Sequence[int] | int | None, dims: int, default: int) -> tuple[int, ...]:
    """A control lattice's (rows, columns) or (planes, rows, columns).

    Args:
        shape: The shape; an int means that many on every axis, None means ``default``.
        dims: 2 or 3.
        default: Points an axis where ``shape`` is None.

    Raises:
        OptionError: If ``dims`` is not 2 or 3, or ``shape`` is not ``dims`` positive whole numbers.

    Examples:
        >>> lattice_shape(5, 2, 4), lattice_shape((2, 3), 2, 4), lattice_shape(None, 3, 4)
        ((5, 5), (2, 3), (4, 4, 4))
    """
    if not is_count(dims) or dims not in (2, 3):
        raise OptionError(f"dims must be 2 or 3, got {dims!r}")
    chosen = default if shape is None else shape
    try:
        return check_size(chosen, dims)
    except ShapeError as error:
        raise OptionError(
            f"a control lattice's shape must be {dims} positive whole numbers, got {shape!r}"
        ) from error


def lattice(shape: tuple[int, ...]) -> Tensor:
    """Control points on a regular lattice over [-1, 1], ``(K, dims)``, float64.

    Args:
        shape: (rows, columns) or (planes, rows, columns), each at least 2.

    Raises:
        OptionError: If an axis has fewer than 2 points.
    """
    if any(not isinstance(n, int) or n < 2 for n in shape):
        raise OptionError(f"a control lattice needs at least 2 points on every axis, got {shape!r}")
    return base_grid(shape, align_corners=True, dtype=torch.float64).flatten(0, -2)
