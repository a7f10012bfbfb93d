"""A digit on a canvas: rotated, scaled, sheared and translated, among pieces of other digits."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from spatial_transformer.demo import payload as check
from spatial_transformer.experiments.data.cluttered import add_patches, whole
from spatial_transformer.experiments.data.distortion import HALF
from spatial_transformer.experiments.data.stream import generator
from spatial_transformer.functional import warp

#: pixels along the side of a piece of clutter, and how many at most
PATCH, MOST_PATCHES = 6, 16


@dataclass(frozen=True)
class Pose:
    """The pose of a digit: p = R(angle) [[1, shear], [0, 1]] scale q + (x, y).

    ``angle`` in degrees, clockwise; (x, y) in pixels off the canvas' centre; q is a point of the
    digit from its centre.
    """

    angle: float = 0.0
    scale: float = 1.0
    shear: float = 0.0
    x: float = 0.0
    y: float = 0.0

    @classmethod
    def parse(cls, payload: check.Payload) -> "Pose":
        """A pose from the browser's request.

        Raises:
            OptionError: If a value has another type or is out of range.
        """
        return cls(
            check.number(payload, "angle", -360, 360, 0.0),
            check.number(payload, "scale", 0.2, 4, 1.0),
            check.number(payload, "shear", -2, 2, 0.0),
            check.number(payload, "x", -100, 100, 0.0),
            check.number(payload, "y", -100, 100, 0.0),
        )

    def theta(self, size: int) -> Tensor:
        """The affine theta ``(1, 6)`` that shows the digit in this pose on ``size`` pixels.

        At shear 0 it is ``similarity_theta``.
        """
        turn = math.radians(self.angle)
        cos, sin = math.cos(turn) / self.scale, math.sin(turn) / self.scale
        # the inverse: [[1, -shear], [0, 1]] R(-angle) / scale
        linear = torch.tensor(
            [[cos + self.shear * sin, sin - self.shear * cos], [-sin, cos]], dtype=torch.float64
        )
        moved = -(linear @ torch.tensor([self.x, self.y], dtype=torch.float64)) / HALF
        ratio = size / (2 * HALF)
        return torch.cat([linear * ratio, moved[:, None]], dim=1).reshape(1, 6).float()


def draw_canvas(
    digit: Tensor, pose: Pose, size: int, *, pieces: int = 0, seed: int = 0, others: Tensor
) -> Tensor:
    """The canvas ``(1, 1, size, size)`` in [0, 1] that is the networks' input.

    Args:
        digit: ``(1, 28, 28)``.
        pose: The digit's pose.
        size: Side of the canvas, in pixels.
        pieces: How many 6x6 pieces of ``others`` to add (the paper's appendix A.3).
        seed: Determines their positions, independently of the pose.
        others: ``(N, 1, 28, 28)``.
    """
    canvas = warp(digit[None], pose.theta(size), "affine", size)
    source = generator("cpu", "demo", seed)
    for _ in range(pieces):  # one by one: another piece leaves the others where they are
        which = whole(source, (1, 1), len(others))
        canvas = add_patches(canvas, others, which, PATCH, source)
    return canvas
