"""RTS: digits rotated, scaled and translated in a larger image."""

import math

import torch
from torch import Tensor

from spatial_transformer.experiments.data.distortion import (
    HALF,
    Distortion,
    PoseRange,
    similarity_theta,
    uniform,
)
from spatial_transformer.functional import warp


class RotatedTranslatedScaled(Distortion):
    """RTS: rotation in [-45, 45] degrees, scale in [0.7, 1.2], a random position in 42x42.

    All are uniform; the position is over those where the scaled digit's square, before rotation, is
    inside the image.

    Note:
        Source: the paper's appendix A.3.
    """

    name = "rts"
    title = "RTS"
    size = 42
    poses = PoseRange((-math.pi / 4, math.pi / 4), (0.7, 1.2), moved=True)

    def __call__(self, digits: Tensor, generator: torch.Generator) -> Tensor:
        """Digits ``(B, 1, 28, 28)`` to images ``(B, 1, 42, 42)``, both in [0, 1]."""
        count = len(digits)
        angle = uniform(generator, count, *self.poses.angle)
        scale = uniform(generator, count, *self.poses.scale)
        room = self.size / 2 - HALF * scale
        x = room * uniform(generator, count, -1, 1)
        y = room * uniform(generator, count, -1, 1)
        theta = similarity_theta(angle, scale, x, y, self.size)
        return warp(digits, theta, "affine", self.size)
