"""Families with a dense basis, a number for every control point and pixel, which is cached."""

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from spatial_transformer.cache import BASES
from spatial_transformer.coordinates import base_grid
from spatial_transformer.samplers.check import is_exporting
from spatial_transformer.sums import product
from spatial_transformer.transforms.basis import ControlPointTransform, as_like

#: points for which a basis is computed at a time: temporaries take several times its memory
PIECE = 2**14


class DenseTransform(ControlPointTransform):
    """A ``ControlPointTransform`` whose basis is a dense matrix.

    The basis of a grid is computed in float64 and cached for the next grid of that size; it takes 4
    bytes a control point and pixel (8 in float64). All transforms of a process share a cache of 128
    MiB (``spatial_transformer.cache.BASES.limit``, which may be set), which drops the oldest first.
    A larger basis is recomputed each time.

    A subclass defines ``_weigh``, and sets ``constants`` to its tensor arguments.
    """

    #: float64 or integer tensors on the CPU, the control points first
    constants: tuple[Tensor, ...]
    #: whether some points are not covered by the control points
    partial: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        FAMILIES[_name(cls)] = cls

    @staticmethod
    @abstractmethod
    def _weigh(points: Tensor, eps: float, *constants: Tensor) -> tuple[Tensor, ...]:
        """Each move's weight at points ``(..., M, dims)`` of precision ``eps``: ``(..., K, M)``.

        The second result of a ``partial`` family is which points are covered, ``(..., M)``.
        """

    def _move(self, moves: Tensor, size: tuple[int, ...], align_corners: bool) -> Tensor:
        like = torch.empty(0, dtype=moves.dtype, device=moves.device)
        options = (size, align_corners, like)
        if (
            is_exporting() and not torch.jit.is_tracing()
        ):  # exported graphs have none of our operators
            basis = _make_basis(type(self), self.constants, *options)
        elif torch.compiler.is_compiling():
            name, constants = _name(type(self)), list(self.constants)
            basis = torch.ops.stn.control_basis(name, constants, *options)
        else:
            basis = _keep_basis(type(self), self.constants, *options)
        return _blend(moves, *basis)

    def _move_points(self, moves: Tensor, points: Tensor, eps: float) -> Tensor:
        constants = (
            as_like(c, points) if c.is_floating_point() else c.to(points.device)
            for c in self.constants
        )
        return _blend(moves, *self._weigh(points, eps, *constants))


FAMILIES: dict[str, type[DenseTransform]] = {}


def _name(family: type[DenseTransform]) -> str:
    return f"{family.__module__}.{family.__qualname__}"


def _blend(moves: Tensor, basis: Tensor, covered: Tensor | None = None) -> Tensor:
    """Moves ``(..., K, dims)`` weighed by a basis ``(..., K, M)``: ``(..., M, dims)``."""
    moved = product(moves.transpose(-1, -2), basis).transpose(-1, -2)
    return moved if covered is None else torch.where(covered.unsqueeze(-1), moved, torch.inf)


def _make_basis(
    family: type[DenseTransform],
    constants: Sequence[Tensor],
    size: tuple[int, ...],
    align_corners: bool,
    like: Tensor,
) -> tuple[Tensor, ...]:
    """The basis of a grid, with the dtype and device of ``like``."""
    points = base_grid(size, align_corners, dtype=torch.float64, device="cpu").flatten(0, -2)
    pieces = [points] if is_exporting() else points.split(PIECE)
    eps = torch.finfo(torch.float64).eps
    parts_of_pieces = [
        tuple(
            as_like(t, like) if t.is_floating_point() else t.to(like.device)
            for t in family._weigh(piece, eps, *constants)
        )
        for piece in pieces
    ]
    return tuple(torch.cat(parts, dim=-1) for parts in zip(*parts_of_pieces, strict=True))


def _keep_basis(
    family: type[DenseTransform],
    constants: Sequence[Tensor],
    size: tuple[int, ...],
    align_corners: bool,
    like: Tensor,
) -> tuple[Tensor, ...]:
    """``_make_basis``, or its cached result."""
    # the constants are cached too, so that their addresses are not reused
    addresses = tuple(c.data_ptr() for c in constants)
    key = (family, addresses, size, align_corners, like.dtype, like.device)
    basis = BASES.get(
        key, lambda: (*_make_basis(family, constants, size, align_corners, like), *constants)
    )
    return basis[: len(basis) - len(constants)]


# one node of a compiled graph, for any size; the graph may overwrite its results
_LIBRARY = torch.library.Library("stn", "FRAGMENT")
_OPTIONS = "SymInt[] size, bool align_corners, Tensor like"
_LIBRARY.define(f"control_basis(str family, Tensor[] constants, {_OPTIONS}) -> Tensor[]")


def _control_basis(
    family: str, constants: list[Tensor], size: list[int], align_corners: bool, like: Tensor
) -> list[Tensor]:
    basis = _keep_basis(FAMILIES[family], constants, tuple(size), align_corners, like)
    return [t.clone() for t in basis]


def _fake_basis(
    family: str, constants: list[Tensor], size: list[int], align_corners: bool, like: Tensor
) -> list[Tensor]:
    count = math.prod(size)
    basis = like.new_empty(constants[0].shape[0], count)
    if not FAMILIES[family].partial:
        return [basis]
    return [basis, like.new_empty(count, dtype=torch.bool)]


_LIBRARY.impl("control_basis", _control_basis, "CompositeExplicitAutograd")
torch.library.register_fake("stn::control_basis", _fake_basis, lib=_LIBRARY)
