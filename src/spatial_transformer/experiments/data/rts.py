"""RTS: digits turned, scaled and moved about a larger image."""

import math

import torch
from torch import Tensor

from spatial_transformer.experiments.data.distortion import (
    HALF,
    Distortion,
    similarity_theta,
    uniform,
)
from spatial_transformer.functional import warp


class RotatedTranslatedScaled(Distortion):
    """RTS: rotation in [-45, 45] degrees, scale in [0.7, 1.2], a random place in 42x42; all
    uniform (the paper's appendix A.3).

    The place is uniform over those where the scaled digit's square, unturned, lies in the image.
    """

    name = "rts"
    title = "RTS"
    size = 42

    def __call__(self, digits: Tensor, generator: torch.Generator) -> Tensor:
        count = len(digits)
        angle = uniform(generator, count, -math.pi / 4, math.pi / 4)
        scale = uniform(generator, count, 0.7, 1.2)
        room = self.size / 2 - HALF * scale
        x = room * uniform(generator, count, -1, 1)
        y = room * uniform(generator, count, -1, 1)
        theta = similarity_theta(angle, scale, x, y, self.size)
        return warp(digits, theta, "affine", self.size)
