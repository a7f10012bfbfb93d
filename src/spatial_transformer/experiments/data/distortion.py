"""The interface of MNIST's distortions: digits in, distorted images out, from a generator."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

#: pixels from the centre of a digit to its edge
HALF = 14.0


def uniform(generator: torch.Generator, count: int, low: float, high: float) -> Tensor:
    """``count`` numbers, uniform in [low, high), on the generator's device."""
    unit = torch.rand(count, generator=generator, device=generator.device)
    return low + (high - low) * unit


def normal(generator: torch.Generator, *shape: int, std: float) -> Tensor:
    """Normal numbers of mean 0, on the generator's device."""
    return std * torch.randn(shape, generator=generator, device=generator.device)


@dataclass(frozen=True)
class PoseRange:
    """The range that a digit's pose is drawn from, uniformly.

    Attributes:
        angle: Rotation in radians, lowest and highest.
        scale: Magnification, lowest and highest.
        moved: Whether the digit lies wherever the square of its scale fits into the image; it is in
            the middle otherwise.
        pieces: Pieces of other digits beside it.
    """

    angle: tuple[float, float] = (0.0, 0.0)
    scale: tuple[float, float] = (1.0, 1.0)
    moved: bool = False
    pieces: int = 0


class Distortion(ABC):
    """A random warp of MNIST digits, bilinear, black outside the digit.

    Note:
        Source: the paper's appendix A.3.
    """

    name: ClassVar[str]
    #: what a table's head says
    title: ClassVar[str]
    #: height and width of the distorted image, in pixels
    size: ClassVar[int] = 28
    #: of the digit, before whatever else the distortion does to it
    poses: ClassVar[PoseRange] = PoseRange()
    #: as ``Dataset.version``
    version: ClassVar[int] = 1

    @property
    def shape(self) -> tuple[int, ...]:
        """Channels, height and width of the distorted image."""
        return (1, self.size, self.size)

    @abstractmethod
    def __call__(self, digits: Tensor, generator: torch.Generator) -> Tensor:
        """Digits ``(B, 1, 28, 28)`` in [0, 1] -> images ``(B, 1, size, size)`` in [0, 1].

        The draw depends on the generator's state alone; digits and generator share a device.
        """


def similarity_theta(
    angle: Tensor, scale: Tensor, x: Tensor, y: Tensor, size: int, half: float = HALF
) -> Tensor:
    """The affine theta that shows a digit rotated, scaled and translated, ``(B, 6)``.

    The output pixel p (from the centre) reads the digit at R(-angle) (p - (x, y)) / scale.

    Args:
        angle: Rotation in radians, ``(B,)``.
        scale: Magnification of the digit, ``(B,)``.
        x: The digit's centre, in pixels off the image's centre, ``(B,)``.
        y: As x.
        size: Side of the image, in pixels.
        half: Half the digit's own width, in pixels.
    """
    cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
    ratio = size / (2 * half)  # output half-width over input half-width
    rows = [
        [cos * ratio, sin * ratio, -(cos * x + sin * y) / half],
        [-sin * ratio, cos * ratio, (sin * x - cos * y) / half],
    ]
    return torch.stack([entry for row in rows for entry in row], dim=-1)
