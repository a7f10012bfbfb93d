"""R: digits rotated by up to 90 degrees either way."""

import math

import torch
from torch import Tensor

from spatial_transformer.experiments.data.distortion import (
    Distortion,
    PoseRange,
    similarity_theta,
    uniform,
)
from spatial_transformer.functional import warp


class Rotated(Distortion):
    """R: rotation uniform in [-90, 90] degrees, 28x28 (the paper's appendix A.3)."""

    name = "r"
    title = "R"
    poses = PoseRange((-math.pi / 2, math.pi / 2))

    def __call__(self, digits: Tensor, generator: torch.Generator) -> Tensor:
        """Digits ``(B, 1, 28, 28)`` to images ``(B, 1, 28, 28)``, both in [0, 1]."""
        angle = uniform(generator, len(digits), *self.poses.angle)
        zero = torch.zeros_like(angle)
        theta = similarity_theta(angle, zero + 1, zero, zero, self.size)
        return warp(digits, theta, "affine", self.size)
