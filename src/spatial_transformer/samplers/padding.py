"""Padding, the values read outside the image: pixel indices off the image -> indices on it.

| padding      | ... of the row a b c d                 | the same elsewhere                       |
|--------------|----------------------------------------|------------------------------------------|
| zeros        | 0 0 0 ``a b c d`` 0 0 0                | torch zeros, SciPy grid-constant         |
| fill         | f f f ``a b c d`` f f f                | OpenCV BORDER_CONSTANT                   |
| border       | a a a ``a b c d`` d d d                | torch border, SciPy nearest              |
| reflection   | c b a ``a b c d`` d c b, or as mirror  | torch reflection (by `align_corners`)    |
| mirror       | d c b ``a b c d`` c b a                | SciPy mirror                             |
| wrap         | b c d ``a b c d`` a b c                | SciPy grid-wrap, numpy.pad wrap          |
"""

from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor

from spatial_transformer.errors import OptionError
from spatial_transformer.names import PaddingName
from spatial_transformer.registry import unknown

PADDINGS: tuple[PaddingName, ...] = get_args(PaddingName)
CONSTANT = ("zeros", "fill")


def check_padding(padding: str) -> PaddingName:
    """The padding's name, checked.

    Raises:
        OptionError: If the name is unknown.
    """
    if padding in PADDINGS:
        return padding
    raise OptionError(unknown("padding", padding, PADDINGS))


@dataclass(frozen=True)
class Edge:
    """One axis of ``n`` pixels under a padding, for taps at most ``reach`` from the base pixel."""

    padding: str
    n: int
    reach: int

    @property
    def period(self) -> int:
        """After how many pixels the padded axis repeats; 0 where it does not."""
        periods = {"reflection": 2 * self.n, "mirror": max(2 * self.n - 2, 1), "wrap": self.n}
        return periods.get(self.padding, 0)

    def whole(self, base: Tensor) -> Tensor:
        """The base pixel, an integer of any finite size held as a float, as a small int."""
        if self.period:
            base = torch.remainder(base, self.period)
        else:
            base = base.clamp(-self.reach - 1, self.n + self.reach)
        return base.to(torch.int64)

    def index(self, tap: Tensor) -> tuple[Tensor, Tensor | None]:
        """Indices on the image, and which taps are inside (None: all count as inside)."""
        if self.padding in CONSTANT:
            inside = (tap >= 0) & (tap < self.n)
            return tap.clamp(0, self.n - 1), inside
        if self.period:
            tap = torch.remainder(tap, self.period)
            if self.padding == "reflection":
                tap = torch.minimum(tap, 2 * self.n - 1 - tap)
            elif self.padding == "mirror":
                tap = torch.minimum(tap, (self.period - tap) % self.period)
        return tap.clamp(0, self.n - 1), None


def padding_rule(padding: str, align_corners: bool) -> str:
    """The padding that applies to pixel indices: reflection about corner centres is mirror."""
    return "mirror" if padding == "reflection" and align_corners else padding


def edge(padding: str, n: int, reach: int, align_corners: bool) -> Edge:
    """The edge rule of an axis of ``n`` pixels."""
    return Edge(padding_rule(padding, align_corners), n, reach)
