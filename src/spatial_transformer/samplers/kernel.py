"""Interpolation kernels k(d): the interface, and how a callable becomes one."""

import math
from collections.abc import Callable
from numbers import Real
from typing import Any, ClassVar

import torch
from torch import Tensor

from spatial_transformer.errors import OptionError


class Kernel:
    """A separable interpolation kernel k(d), zero for abs(d) > ``support`` pixels.

    A subclass sets ``name``, ``support`` and ``order`` and defines ``__call__``; it may define
    ``weights`` as well, where that is more exact than k(t - j).

    Note:
        Source: the paper's equation (3).
    """

    name: ClassVar[str] = "callable"
    #: half of the kernel's width, in pixels
    support: float
    #: error of the interpolation is O(h ** order) on smooth images
    order: int = 0
    #: whether a value is the copy of one pixel; then images may have any dtype
    copies: bool = False

    def __call__(self, d: Tensor) -> Tensor:
        """k(d) at distances ``d`` in pixels, elementwise."""
        raise NotImplementedError

    @property
    def taps(self) -> int:
        """How many pixels are read along an axis."""
        return max(1, math.ceil(2 * self.support))

    @property
    def offsets(self) -> range:
        """The taps relative to the base pixel.

        The base pixel is floor(u) for an even number of taps and floor(u + 1/2) for an odd one.
        """
        first = -((self.taps - 1) // 2)
        return range(first, first + self.taps)

    @property
    def shift(self) -> float:
        """What is added to a coordinate before it is floored to the base pixel."""
        return 0.5 * (self.taps % 2)

    def weights(self, t: Tensor) -> list[Tensor]:
        """The weight of each tap; t = u - base, in [0, 1) or, with odd taps, [-1/2, 1/2)."""
        return [self(t - j) for j in self.offsets]

    def margin(self, padding: str) -> int:
        """How many pixels ``prepare`` adds on every side."""
        return 0

    def prepare(
        self, image: Tensor, padding: str, fill: Tensor | None, align_corners: bool
    ) -> Tensor:
        """What the kernel weighs instead of the pixels, ``margin`` larger on every side."""
        return image

    def __repr__(self) -> str:
        return f"{type(self).__name__}(support={self.support:g})"


class CallableKernel(Kernel):
    """Any function k(d) with a support, as a kernel.

    Args:
        function: k, elementwise on distances in pixels.
        support: Half of the kernel's width, in pixels.

    Raises:
        OptionError: If ``support`` is not a positive, finite number.

    Examples:
        >>> import torch
        >>> hat = CallableKernel(lambda d: (1 - d.abs()).clamp(min=0), support=1)
        >>> hat.taps
        2
    """

    def __init__(self, function: Callable[[Tensor], Tensor], support: float) -> None:
        fixed = isinstance(support, Real) and not isinstance(support, bool)
        if not fixed or not 0 < support < math.inf:
            raise OptionError(f"a kernel's support must be a positive number, got {support!r}")
        self.function = function
        self.support = float(support)

    def __call__(self, d: Tensor) -> Tensor:
        """k(d), elementwise; 0 beyond the support."""
        # the last of its taps may lie beyond the support
        within = d.clamp(-self.support, self.support)  # the unused branch must be finite
        return torch.where(d == within, self.function(within), 0)


def from_callable(function: Any) -> Kernel:
    """A kernel from a callable with an attribute ``support``.

    Raises:
        OptionError: If it is not callable, is a class, or has no valid ``support``.
    """
    # a kernel class is not a kernel
    if isinstance(function, type) or not callable(function) or not hasattr(function, "support"):
        raise OptionError(
            "kernel must be a name or a callable k(d) with an attribute `support` (half its width "
            f"in pixels), got {function!r}"
        )
    return CallableKernel(function, function.support)
