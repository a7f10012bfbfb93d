"""E: digits under a random thin plate spline."""

import torch
from torch import Tensor

from spatial_transformer.experiments.data.distortion import (
    HALF,
    Distortion,
    PoseRange,
    normal,
    uniform,
)
from spatial_transformer.functional import warp
from spatial_transformer.transforms import ThinPlateSpline


class Elastic(Distortion):
    """E: scale in [0.75, 1.0], then a random thin plate spline, 28x28.

    Its 16 control points on a regular grid are moved by N(0, 1.5 pixels) in x and in y.

    Note:
        Source: the paper's appendix A.3.
    """

    name = "e"
    title = "E"
    poses = PoseRange(scale=(0.75, 1.0))

    def __init__(self) -> None:
        self.spline = ThinPlateSpline((4, 4))

    def __call__(self, digits: Tensor, generator: torch.Generator) -> Tensor:
        """Digits ``(B, 1, 28, 28)`` to images ``(B, 1, 28, 28)``, both in [0, 1]."""
        count = len(digits)
        scale = uniform(generator, count, *self.poses.scale)
        points = self.spline.control_points.to(digits)
        moves = normal(generator, count, *points.shape, std=1.5) / HALF
        # moved on the image that the scaled digit is in, so that a pixel is one of this image
        theta = ((points + moves) / scale[:, None, None]).flatten(1)
        return warp(digits, theta, self.spline, self.size)
