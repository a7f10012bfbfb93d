"""Perturbed: digits seen through a homography that moves the image's four corners."""

import torch
from torch import Tensor

from spatial_transformer.experiments.data.distortion import HALF, Distortion, normal
from spatial_transformer.experiments.data.projected import homography
from spatial_transformer.functional import warp

#: standard deviation of both moves, in pixels: 12.5 % of the image's width
NOISE = 0.125 * 2 * HALF


def perturbed(moves: Tensor) -> Tensor:
    """The projective theta of an output whose corners read the input's corners, moved.

    Args:
        moves: How far each corner is moved in x and y, in pixels, ``(B, 4, 2)``, row by row from
            the top left.

    Returns:
        ``(B, 8)``.
    """
    corners = moves.new_tensor([[-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0], [1.0, 1.0]])
    corners = corners.expand_as(moves)
    return homography(corners, corners + moves / HALF)


class Perturbed(Distortion):
    """Each corner moved by N(0, 3.5 pixels) in x and in y, all four by another such move, 28x28.

    3.5 pixels are 12.5 % of the image's width. The output's corners read the input at the places to
    which these are moved; what is read outside of it is black. Digits may leave the image in part.

    Note:
        Source: Lin & Lucey, "Inverse compositional spatial transformer networks" (2017), section 5,
        and their program's ``pertScale`` and ``transScale`` (recalled: 0.25 of [-1, 1], for the
        corners and for the common move). They take the centres of the corner pixels for corners, we
        their edges: a difference of 4 %.
    """

    name = "perturbed"
    title = "perturbed"

    def __call__(self, digits: Tensor, generator: torch.Generator) -> Tensor:
        """Digits ``(B, 1, 28, 28)`` to images ``(B, 1, 28, 28)``, both in [0, 1]."""
        corners = normal(generator, len(digits), 4, 2, std=NOISE)
        common = normal(generator, len(digits), 1, 2, std=NOISE)
        return warp(digits, perturbed(corners + common), "projective", self.size)
