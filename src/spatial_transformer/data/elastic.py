"""E: digits under a random thin plate spline."""

import torch
from torch import Tensor

from spatial_transformer.data.distortion import Distortion, normal, uniform
from spatial_transformer.functional import warp
from spatial_transformer.transforms import ThinPlateSpline

#: 16 control points, on a regular grid
SPLINE = ThinPlateSpline((4, 4))


def moved_points(images: Tensor, std: float, generator: torch.Generator) -> Tensor:
    """The spline's control points, each moved by N(0, ``std`` pixels of the images) in x and in y:
    ``(B, 16, 2)``, normalised. Images ``(B, C, H, W)``."""
    points = SPLINE.control_points.to(images)
    moves = normal(generator, len(images), *points.shape, std=std)
    height, width = images.shape[2:]
    return points + moves / moves.new_tensor([width / 2, height / 2])


def bend(images: Tensor, std: float, generator: torch.Generator) -> Tensor:
    """Each image under an elastic warp of its own, as another hand might have written it: for
    training on more than there is.

    Bicubic, so that they are as sharp as before.
    Images ``(B, C, H, W)`` in [0, 1] -> the same; the control points move by N(0, ``std`` pixels).
    """
    theta = moved_points(images, std, generator).flatten(1)
    return warp(images, theta, SPLINE, kernel="bicubic").clamp(0, 1)


class Elastic(Distortion):
    """E: scale in [0.75, 1.0], then the 16 control points of a thin plate spline on a regular grid
    moved by N(0, 1.5 pixels) in x and in y, 28x28 (the paper's appendix A.3).
    """

    name = "e"
    title = "E"

    def __call__(self, digits: Tensor, generator: torch.Generator) -> Tensor:
        scale = uniform(generator, len(digits), 0.75, 1.0)
        # moved on the image that the scaled digit is in, so that a pixel is one of this image
        points = moved_points(digits, 1.5, generator)
        return warp(digits, (points / scale[:, None, None]).flatten(1), SPLINE, self.size)
