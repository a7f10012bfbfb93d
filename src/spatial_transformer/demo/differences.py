"""Finds a digit that two networks read differently, in a pose that they were trained on."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from spatial_transformer.demo.networks import input_size, pose_range
from spatial_transformer.demo.scene import Pose, draw_canvas
from spatial_transformer.experiments.data.distortion import HALF, PoseRange
from spatial_transformer.experiments.data.stream import generator
from spatial_transformer.pretrained import Pretrained

#: digits that the networks read at once, and how often before the search ends
BATCH, BATCHES = 128, 4


#: a generator -> digits ``(B, 1, 28, 28)``, their labels and their numbers, both ``(B,)``
Draw = Callable[[torch.Generator], tuple[Tensor, Tensor, Tensor]]


@dataclass(frozen=True)
class Found:
    """A digit on its canvas.

    Attributes:
        digit: ``(1, 28, 28)``.
        label: Its class.
        number: As ``Draw`` has it.
        pose: Its pose.
        pieces: Of clutter.
        differs: Whether the first network reads it as its class, and the second does not.
    """

    digit: Tensor
    label: int
    number: int
    pose: Pose
    pieces: int
    differs: bool


def draw_poses(ranges: PoseRange, size: int, count: int, source: torch.Generator) -> list[Pose]:
    """Poses as the data set draws them, rounded to what the page's sliders show."""
    poses = []
    for angle, scale, across, down in torch.rand(count, 4, generator=source).tolist():
        scale = round(ranges.scale[0] + scale * (ranges.scale[1] - ranges.scale[0]), 2)
        room = size / 2 - HALF * scale if ranges.moved else 0.0
        low, high = (math.degrees(a) for a in ranges.angle)
        x, y = (round(room * (2 * part - 1), 1) for part in (across, down))
        poses.append(Pose(round(low + angle * (high - low)), scale, 0.0, x, y))
    return poses


@torch.inference_mode()
def find_difference(networks: Sequence[Pretrained], draw: Draw, seed: int, others: Tensor) -> Found:
    """A digit that the first network reads right and the second wrong, as clearly as possible.

    One that both read right when it is upright comes first: its pose is what makes the difference.
    It is of the first batch that has any that differs; where none has, the digit of which the
    second is the least sure by comparison. With one network it is any digit.

    Args:
        networks: One or two, of one input size.
        draw: Draws digits.
        seed: Determines digits, poses and clutter.
        others: As for ``draw_canvas``.
    """
    size, ranges = input_size(networks[0]), pose_range(networks[0]) or PoseRange()

    def place(digits: Tensor, poses: Sequence[Pose], pieces: int) -> Tensor:
        canvases = [
            draw_canvas(digit, pose, size, pieces=pieces, seed=seed, others=others)
            for digit, pose in zip(digits, poses, strict=True)
        ]
        return torch.cat(canvases)

    best, best_rank = None, -math.inf
    for k in range(BATCHES if len(networks) > 1 else 1):
        source = generator("cpu", "demo", "difference", seed, k)
        digits, labels, numbers = draw(source)
        poses = draw_poses(ranges, size, len(digits), source)
        rank, differs = _compare(networks, place(digits, poses, ranges.pieces), labels)
        some = differs.nonzero().flatten()
        if len(some):
            upright = place(digits[some], [Pose()] * len(some), 0)
            read = [n.model(upright).argmax(1) == labels[some] for n in networks]
            rank[some] += 2 + 2 * torch.stack(read).all(0)
        i = int(rank.argmax())
        if rank[i] > best_rank:
            best_rank = float(rank[i])
            best = Found(
                digits[i], int(labels[i]), int(numbers[i]), poses[i], ranges.pieces,
                bool(differs[i]),
            )  # fmt: skip
        if len(some):
            break
    assert best is not None
    return best


def _compare(
    networks: Sequence[Pretrained], canvases: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    """By how much the first is surer of the truth, and whether it alone is right, ``(B,)`` each."""
    if len(networks) < 2:
        nothing = torch.zeros(len(labels))
        return nothing, nothing.bool()
    first, second = (n.model(canvases).softmax(1) for n in networks)
    margin = (first - second).gather(1, labels[:, None])[:, 0]
    return margin, (first.argmax(1) == labels) & (second.argmax(1) != labels)
