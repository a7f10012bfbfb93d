"""Digits extruded to a volume, and rotated, scaled and translated in three dimensions."""

import math

import torch
from torch import Tensor

from spatial_transformer.experiments.data.distortion import (
    HALF,
    Distortion,
    PoseRange,
    uniform,
)
from spatial_transformer.functional import sample
from spatial_transformer.transforms import Affine

#: height, width and depth of the volume, in pixels of the digit, whatever its resolution
ROOM = 60
#: digits drawn at once, so that large volumes need little memory besides themselves
BLOCK = 32


def rotation(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """Rotation about the z axis, then about y, then about x (radians): ``(B, 3, 3)``.

    Examples:
        >>> rotation(torch.zeros(1), torch.zeros(1), torch.zeros(1))[0]
        tensor([[1., 0., 0.],
                [0., 1., 0.],
                [0., 0., 1.]])
    """
    out = torch.eye(3, dtype=x.dtype, device=x.device).expand(len(x), 3, 3)
    for angle, (i, j) in ((z, (0, 1)), (y, (2, 0)), (x, (1, 2))):
        turn = torch.eye(3, dtype=x.dtype, device=x.device).repeat(len(x), 1, 1)
        turn[:, i, i] = turn[:, j, j] = angle.cos()
        turn[:, i, j], turn[:, j, i] = -angle.sin(), angle.sin()
        out = turn @ out
    return out


class Extruded(Distortion):
    """A digit as a solid of 28x28x28 in a volume of 60x60x60.

    It is rotated by up to 45 degrees about each axis, scaled by 0.7 to 1.2, and at a random
    position where its cube, before rotation, is inside; all uniform.

    Args:
        size: Height, width and depth in voxels; the same volume at another resolution.

    Note:
        Source: the paper's 3-D experiment, which gives no ranges; these are RTS's.
    """

    name = "volume"
    title = "extruded digits"
    size = 60
    poses = PoseRange((-math.pi / 4, math.pi / 4), (0.7, 1.2), moved=True)  # on each axis

    def __init__(self, size: int = 60) -> None:
        self.size = size  # type: ignore[misc]
        self.name, self.title = f"volume{size}", f"{size}x{size}x{size}"  # type: ignore[misc]

    @property
    def shape(self) -> tuple[int, ...]:
        """Channels, depth, height and width of the volume."""
        return (1, self.size, self.size, self.size)

    def __call__(self, digits: Tensor, generator: torch.Generator) -> Tensor:
        """Digits ``(B, 1, 28, 28)`` -> volumes ``(B, 1, size, size, size)`` in [0, 1]."""
        count = len(digits)
        turn = rotation(*(uniform(generator, count, *self.poses.angle) for _ in range(3)))
        scale = uniform(generator, count, *self.poses.scale)
        room = ROOM / 2 - HALF * scale
        place = torch.stack([room * uniform(generator, count, -1, 1) for _ in range(3)], dim=1)
        return self.solids(digits, turn, scale, place)

    def solids(self, digits: Tensor, turn: Tensor, scale: Tensor, place: Tensor) -> Tensor:
        """Volumes of digits with given rotations, scales and positions.

        Args:
            digits: ``(B, 1, 28, 28)``.
            turn: Rotation matrices ``(B, 3, 3)``.
            scale: Magnifications ``(B,)``.
            place: Positions ``(B, 3)``, in pixels (x, y, z) off the volume's centre.
        """
        # the volume's point p reads the digit's frame at R^T (p - place) / scale
        inverse = turn.transpose(1, 2) / scale[:, None, None]
        shift = -(inverse @ place[:, :, None]) / HALF
        theta = torch.cat([inverse * (ROOM / 2 / HALF), shift], dim=2).flatten(1)
        return torch.cat(
            [self._draw(*block) for block in zip(digits.split(BLOCK), theta.split(BLOCK),
                                                 strict=True)]
        )  # fmt: skip

    def _draw(self, digits: Tensor, theta: Tensor) -> Tensor:
        n = self.size
        grid = Affine(dims=3).grid(theta, n)
        flat = sample(digits, grid[..., :2].reshape(len(digits), n * n, n, 2).contiguous())
        # a soft edge, half a pixel of the digit either way, at the solid's front and back
        inside = ((1 - grid[..., 2].abs()) * HALF + 0.5).clamp(0, 1)
        return flat.reshape(len(digits), 1, n, n, n) * inside[:, None]
