"""Any matrix family with its parameters restricted to bounds."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from spatial_transformer.errors import OptionError
from spatial_transformer.transforms.base import Transform
from spatial_transformer.transforms.matrix import MatrixTransform, refuse


class Bounded(MatrixTransform):
    """``family`` with some parameters squashed into (low, high).

    A bounded parameter is centre + half * tanh(theta + shift), shift such that theta = 0 is the
    identity. Parameters without bounds are offsets from their identity value, so that zero theta is
    the identity throughout.

    Args:
        family: A matrix transform, such as ``Similarity()``.
        bounds: ``{parameter: (low, high)}``, each around the parameter's identity value.

    Raises:
        OptionError: If ``family`` is not a matrix family, or bounds name no parameter, are not
            finite, or do not clearly contain its identity value.

    Note:
        Coordinates: as the family's.

    Examples:
        >>> from spatial_transformer.transforms.similarity import Similarity
        >>> t = Bounded(Similarity(), {"s": (0.5, 2.0), "angle": (-0.5, 0.5)})
        >>> t.matrix(torch.tensor([[0.0, 100.0, 0.0, 0.0]]))
        tensor([[[2., -0., 0.],
                 [0., 2., 0.]]])
    """

    name = "bounded"
    supported_dims = (2, 3)

    def __init__(self, family: Transform, bounds: Mapping[str, tuple[float, float]]) -> None:
        if not isinstance(family, MatrixTransform):
            raise OptionError(f"bounds are for matrix families, not for {family!r}")
        if not isinstance(bounds, Mapping):
            raise OptionError(f"bounds must be {{parameter: (low, high)}}, got {bounds!r}")
        self._family_names: tuple[str, ...]
        object.__setattr__(self, "_family_names", family.param_names)
        identity = dict(zip(family.param_names, family.identity().tolist(), strict=True))
        pairs = {}
        for name, pair in bounds.items():
            if name not in identity:
                known = ", ".join(family.param_names)
                raise OptionError(f"{family.name!r} has no parameter {name!r}; it has {known}")
            try:
                low, high = (float(end) for end in pair)
            except (TypeError, ValueError) as error:
                raise OptionError(
                    f"bounds of {name!r} must be (low, high), got {pair!r}"
                ) from error
            if not -math.inf < low < identity[name] < high < math.inf:
                raise OptionError(
                    f"bounds of {name!r} must be finite and around its identity value "
                    f"{identity[name]:g}, got ({low:g}, {high:g})"
                )
            nearer = min(high - identity[name], identity[name] - low)
            if not nearer > 1e-6 * (high - low):
                raise OptionError(
                    f"bounds of {name!r} are too lopsided: ({low:g}, {high:g}) has its identity "
                    f"value {identity[name]:g} next to an end"
                )
            pairs[name] = low, high
        super().__init__(family.dims)
        self.family = family
        self.has_identity = family.has_identity
        self.bounds = pairs
        self._start = identity

    def _names(self) -> tuple[str, ...]:
        return self._family_names

    def _full_identity(self) -> list[float]:
        return [0.0] * len(self._names())

    def _scales(self, name: str) -> tuple[float, float]:
        """Half the width, and the position of the identity value in (-1, 1)."""
        low, high = self.bounds[name]
        half = (high - low) / 2
        return half, (self._start[name] - (low + high) / 2) / half

    def values(self, theta: Tensor) -> Tensor:
        """The family's own theta, within the bounds: ``(..., P)`` -> ``(..., P)``."""
        out = []
        for name, entry in zip(self._names(), theta.unbind(-1), strict=True):
            if name in self.bounds:
                # tanh(theta + shift) less its value at zero, where it is exact
                half, place = self._scales(name)
                a = torch.tanh(entry)
                moved = half * (1 - place) * (1 + place) * a / (1 + place * a)
                out.append((self._start[name] + moved).clamp(*self.bounds[name]))
            else:
                out.append(entry + self._start[name])
        return torch.stack(out, dim=-1)

    def _matrix(self, full: Tensor) -> Tensor:
        return self.family._matrix(self.family.full_theta(self.values(full)))

    def refine(self, theta: Tensor, change: Tensor) -> Tensor:
        """As ``Transform.refine``: parameters outside their bounds are clamped to them.

        Note:
            Gradient: none through a parameter that is clamped.
        """
        return self._from_matrix(self._product(theta, change), clip=True)

    def _from_matrix(self, matrix: Tensor, clip: bool = False) -> Tensor:
        """The parameters of a matrix; with ``clip``, those outside their bounds are clamped."""
        values = self.family.from_matrix(matrix)
        most = 1 - torch.finfo(values.dtype).eps
        out = []
        for name, value in zip(self._names(), values.unbind(-1), strict=True):
            if name in self.bounds:
                low, high = self.bounds[name]
                half, place = self._scales(name)
                rounding = 4 * torch.finfo(value.dtype).eps * (abs(low + high) / 2 + half)
                slack = 1e-5 * half + rounding
                if not clip:
                    outside = (value < low - slack) | (value > high + slack)
                    refuse(outside, f"the result has {name} outside {self.bounds[name]}")
                    value = torch.where(outside, torch.nan, value)
                moved = (value.clamp(low, high) - self._start[name]) / half
                a = moved / ((1 - place) * (1 + place) - place * moved)
                out.append(torch.atanh(a.clamp(-most, most)))
            else:
                out.append(value - self._start[name])
        return torch.stack(out, dim=-1)

    def _trim(self, square: Tensor) -> Tensor:
        return self.family._trim(square)
