"""MNIST addition: two digits, each in its own channel and distorted independently."""

from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from spatial_transformer.experiments.data.dataset import Batch, Dataset, load_digits
from spatial_transformer.experiments.data.rts import RotatedTranslatedScaled
from spatial_transformer.experiments.data.stream import Digits, Stream, fixed_blocks, generator


def add(left: Batch, right: Batch) -> Batch:
    """Two batches concatenated along the channels, and the sums of their labels."""
    return torch.cat([left[0], right[0]], dim=1), left[1] + right[1]


class Addition(Dataset):
    """Two RTS digits in two channels of 42x42; the label is their sum, 0 to 18.

    Note:
        Source: the paper's appendix A.1.
    """

    name = "addition"
    title = "sum of two RTS digits"
    in_shape = (2, 42, 42)
    classes = 19

    def batches(
        self,
        batch_size: int,
        seed: int,
        *,
        data_root: Path | None = None,
        device: torch.device | str = "cpu",
    ) -> Callable[[int], Batch]:
        """Training batches; see ``Dataset.batches``."""
        digits = load_digits("train", data_root, device)
        left, right = (
            Stream(digits, RotatedTranslatedScaled(), batch_size, (seed, side)).batch
            for side in ("left", "right")
        )
        return lambda k: add(left(k), right(k))

    def draw_fixed(self, part: str, seed: int, data_root: Path | None) -> Iterator[Batch]:
        """The fixed images on the CPU; see ``Dataset.draw_fixed``."""
        digits = load_digits(part, data_root)
        order = torch.randperm(len(digits), generator=generator("cpu", seed, "partners"))
        partners = Digits(digits.images[order], digits.labels[order])
        sides = (
            fixed_blocks(these, RotatedTranslatedScaled(), (seed, side))
            for these, side in ((digits, "left"), (partners, "right"))
        )
        return (add(left, right) for left, right in zip(*sides, strict=True))
