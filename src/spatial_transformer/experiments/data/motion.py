"""Smoothly moving digits within the range of a data set's distortion, for films."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from spatial_transformer.errors import OptionError
from spatial_transformer.experiments.data.cluttered import TranslatedCluttered, add_patches
from spatial_transformer.experiments.data.colocalisation import CANVAS, DISTRACTORS, PATCH
from spatial_transformer.experiments.data.distortion import HALF, similarity_theta
from spatial_transformer.experiments.data.extruded import ROOM, Extruded, rotation
from spatial_transformer.experiments.data.perturbed import perturbed
from spatial_transformer.experiments.data.projected import stretched
from spatial_transformer.experiments.data.rts import RotatedTranslatedScaled
from spatial_transformer.experiments.data.sequence import CANVAS as ROW_CANVAS
from spatial_transformer.experiments.data.sequence import LENGTH, draw_row, place_row
from spatial_transformer.experiments.data.stream import generator
from spatial_transformer.functional import warp
from spatial_transformer.transforms import ThinPlateSpline

#: (turns, start) -> for each digit a number in [-1, 1] that swings so often during the film
Wave = Callable[[int, float], Tensor]


def check_motion(dataset: str) -> None:
    """Check that a data set is made of clean digits, which can be moved.

    Raises:
        OptionError: If it is not; the message lists those that are.
    """
    if dataset not in _MOTIONS:
        raise OptionError(
            f"there is no motion for {dataset!r}. Known: {', '.join(sorted(_MOTIONS))}"
        )


def move(dataset: str, digits: Tensor, time: float) -> Tensor:
    """Digits at a time of a periodic film, each a little ahead of the one before it.

    Args:
        dataset: The data set's name.
        digits: ``(B, 1, 28, 28)`` in [0, 1].
        time: 0 to 1, where the film repeats.

    Returns:
        Images of the data set's shape, ``(B, C, *spatial)``.

    Raises:
        OptionError: If the data set is not made of clean digits.

    Examples:
        >>> move("rts", torch.rand(2, 1, 28, 28), 0.5).shape
        torch.Size([2, 1, 42, 42])
    """
    check_motion(dataset)
    ahead = torch.arange(len(digits)) / len(digits)

    def wave(turns: int, start: float) -> Tensor:
        return torch.sin(2 * math.pi * (turns * (time + ahead) + start))

    return _MOTIONS[dataset](digits, wave)


def moved_labels(dataset: str, labels: Tensor) -> Tensor:
    """The labels of the images that ``move`` makes of digits with labels ``(B,)``."""
    change = _LABELS.get(dataset)
    return labels if change is None else change(labels)


def _similar(
    digits: Tensor, size: int, wave: Wave, angle: float = 0.0, scale: tuple[float, float] = (1, 1)
) -> Tensor:
    """Turned by up to ``angle``, scaled between ``scale``, moved as far as the image goes."""
    low, high = scale
    larger = (low + high) / 2 + (high - low) / 2 * wave(1, 0.6)
    room = size / 2 - HALF * larger
    x, y = room * wave(1, 0.25), room * wave(2, 0.1)
    return warp(digits, similarity_theta(angle * wave(1, 0), larger, x, y, size), "affine", size)


def _rts(digits: Tensor, wave: Wave) -> Tensor:
    return _similar(digits, RotatedTranslatedScaled.size, wave, math.pi / 4, (0.7, 1.2))


def _rotated(digits: Tensor, wave: Wave) -> Tensor:
    return _similar(digits, 28, wave, math.pi / 2)


def _added(digits: Tensor, wave: Wave) -> Tensor:
    """In the second channel the digit next to each, half a film ahead."""
    partners = _rts(digits.roll(1, 0), lambda turns, start: wave(turns, start + turns / 2))
    return torch.cat([_rts(digits, wave), partners], dim=1)


def _row(digits: Tensor, wave: Wave) -> Tensor:
    """Each digit and the two after it in a row whose place and slope swing, without clutter."""
    left = (7.5 + 7.5 * wave(1, 0.25)).round().long()
    top = (36 + 36 * wave(1, 0)).round().long()
    slope = (14 * wave(2, 0.1)).round().long()
    rows = torch.stack([digits[:, 0].roll(-k, 0) for k in range(LENGTH)], dim=1)
    canvas = draw_row(rows, *place_row(left, top, slope))
    return canvas.view(-1, 1, ROW_CANVAS, ROW_CANVAS)


def _projected(digits: Tensor, wave: Wave) -> Tensor:
    amounts = 7 * torch.stack([wave(1 + k % 2, k / 4) for k in range(4)], dim=1)
    theta = stretched(0.875 + 0.125 * wave(1, 0.4), amounts)
    return warp(digits, theta, "projective", 28)


def _perturbed(digits: Tensor, wave: Wave) -> Tensor:
    corners = torch.stack([wave(1 + k % 2, k / 8) for k in range(8)], dim=1).unflatten(1, (4, 2))
    common = torch.stack([wave(1, 0.1), wave(1, 0.35)], dim=1)[:, None]
    return warp(digits, perturbed(4 * corners + 4 * common), "projective", 28)


def _elastic(digits: Tensor, wave: Wave) -> Tensor:
    spline = ThinPlateSpline((4, 4))
    points = spline.control_points.float()
    waves = [wave(1 + k % 2, 0.37 * k) for k in range(points.numel())]
    moves = torch.stack(waves, dim=1).view(-1, *points.shape) * 2 / HALF
    scale = 0.875 + 0.125 * wave(1, 0.4)
    return warp(digits, ((points + moves) / scale[:, None, None]).flatten(1), spline, 28)


def _cluttered(size: int, count: int, patch: int) -> Callable[[Tensor, Wave], Tensor]:
    """The digits move, their clutter of pieces of one another does not."""

    def draw(digits: Tensor, wave: Wave) -> Tensor:
        which = (torch.arange(len(digits))[:, None] + 1 + torch.arange(count)) % len(digits)
        clutter = torch.zeros(len(digits), 1, size, size)
        if count:
            clutter = add_patches(clutter, digits, which, patch, generator("cpu", "clutter", size))
        return torch.maximum(_similar(digits, size, wave), clutter)

    return draw


def _solid(size: int) -> Callable[[Tensor, Wave], Tensor]:
    def draw(digits: Tensor, wave: Wave) -> Tensor:
        turn = rotation(*(math.pi / 4 * wave(1 + k % 2, 0.3 * k) for k in range(3)))
        scale = 0.95 + 0.25 * wave(1, 0.6)
        room = (ROOM / 2 - HALF * scale)[:, None]
        place = room * torch.stack([wave(1, 0.25), wave(2, 0.1), wave(1, 0.8)], dim=1)
        return Extruded(size).solids(digits, turn, scale, place)

    return draw


#: what the label of an image is, where it is not its digit's
_LABELS: dict[str, Callable[[Tensor], Tensor]] = {
    "addition": lambda labels: labels + labels.roll(1),
    "sequence100": lambda labels: torch.stack([labels.roll(-k) for k in range(LENGTH)], dim=1),
}

_MOTIONS: dict[str, Callable[[Tensor, Wave], Tensor]] = {
    "r": _rotated,
    "rts": _rts,
    "p": _projected,
    "perturbed": _perturbed,
    "e": _elastic,
    "addition": _added,
    "sequence100": _row,
    "tc": _cluttered(
        TranslatedCluttered.size, TranslatedCluttered.patches, TranslatedCluttered.patch
    ),
    **{
        f"{kind}{k}": _cluttered(CANVAS, count, PATCH)
        for kind, count in DISTRACTORS.items()
        for k in range(10)
    },
    **{f"volume{size}": _solid(size) for size in (30, 60)},
}
