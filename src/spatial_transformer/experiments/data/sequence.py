"""Sequences of digits on a canvas with clutter: three digits in a row that rises or falls."""

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from spatial_transformer.errors import OptionError
from spatial_transformer.experiments.data.cluttered import square, whole
from spatial_transformer.experiments.data.dataset import FIXED_SEED, PROBES, Batch, Dataset
from spatial_transformer.experiments.data.mnist import load_mnist
from spatial_transformer.experiments.data.stream import Digits, generator, split

#: height and width of the canvas, of a digit and of a patch of clutter, in pixels
CANVAS, DIGIT, PATCH = 100, 28, 9
#: digits and patches of an image
LENGTH, PATCHES = 3, 8
#: images of a block of a fixed set
BLOCK = 200


def place_row(left: Tensor, top: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
    """Top rows and left columns of an image's digits, ``(B, LENGTH)`` each, within the canvas.

    Args:
        left: Left column of the first digit, ``(B,)``.
        top: Top row of the first digit, which may be below the canvas, ``(B,)``.
        slope: Rows from one digit to the next, ``(B,)``.

    Examples:
        >>> place_row(torch.tensor([5]), torch.tensor([99]), torch.tensor([-14]))
        (tensor([[72, 72, 71]]), tensor([[ 5, 33, 61]]))
    """
    step = torch.arange(LENGTH, device=left.device)
    rows = (top[:, None] + slope[:, None] * step).clamp(0, CANVAS - DIGIT)
    return rows, left[:, None] + DIGIT * step


def draw_row(digits: Tensor, top: Tensor, left: Tensor) -> Tensor:
    """Digits ``(B, LENGTH, 28, 28)`` on black canvases ``(B, CANVAS**2)``.

    Their top rows and left columns are ``(B, LENGTH)``; they do not overlap.
    """
    canvas = digits.new_zeros(len(digits), CANVAS**2)
    where = square(top, left, DIGIT, CANVAS)
    return canvas.scatter_(1, where.flatten(1), digits.flatten(1))


def draw_clutter(others: Tensor, count: int, source: torch.Generator) -> Tensor:
    """Patches of other digits on black canvases ``(count, CANVAS**2)``; a later one overwrites.

    The last row and column of digits and canvas are never reached, as in the published generator.

    Args:
        others: Digits ``(N, 28, 28)``, uint8, from which the patches are cut.
        count: The number of canvases.
        source: The random generator.
    """
    shape, step = (count, PATCHES), DIGIT - PATCH
    which = whole(source, shape, len(others))
    cut = square(whole(source, shape, step), whole(source, shape, step), PATCH, DIGIT)
    pieces = others.flatten(1)[which[..., None], cut]
    step = CANVAS - PATCH
    where = square(whole(source, shape, step), whole(source, shape, step), PATCH, CANVAS)
    canvas = pieces.new_zeros(count, CANVAS**2)
    for k in range(PATCHES):  # one after the other: which of two values stays is no chance
        canvas.scatter_(1, where[:, k], pieces[:, k])
    return canvas


def draw_sequences(digits: Digits, others: Tensor, count: int, source: torch.Generator) -> Batch:
    """New images ``(count, 1, 100, 100)`` in [0, 1] and their labels ``(count, LENGTH)``.

    Args:
        digits: The digits, drawn with replacement.
        others: ``(N, 28, 28)`` uint8, from which clutter is cut.
        count: The number of images.
        source: The random generator, on the digits' device.
    """
    chosen = whole(source, (count, LENGTH), len(digits))
    left, top = whole(source, (count,), 16), whole(source, (count,), CANVAS)
    slope = whole(source, (count,), DIGIT) - DIGIT // 2
    row = draw_row(digits.images[chosen], *place_row(left, top, slope))
    clutter = draw_clutter(others, count, source)
    images = row.float().add_(clutter).clamp_(max=255).div_(255)  # bytes until here, for speed
    return images.view(count, 1, CANVAS, CANVAS), digits.labels[chosen]


class Sequence100(Dataset):
    """Three MNIST digits side by side in a row on 100x100, and 8 9x9 patches of other digits.

    Training sequences are drawn anew for every batch. The validation and test sets, of as many
    sequences as there are digits of the part (10,000), are fixed for a seed. A sixth of MNIST's
    training digits (10,000) are the validation's; clutter is always cut from those of training.

    Note:
        Source: Sonderby et al. 2015 (arXiv 1509.05329) and their published generator.
    """

    name = "sequence100"
    title = "three digits on 100x100"
    in_shape = (1, CANVAS, CANVAS)
    length = LENGTH
    task = "sequence"

    def batches(
        self,
        batch_size: int,
        seed: int,
        *,
        data_root: Path | None = None,
        device: torch.device | str = "cpu",
    ) -> Callable[[int], Batch]:
        """Training batches; see ``Dataset.batches``."""
        digits = _load("train", data_root).to(device)

        def batch(k: int) -> Batch:
            source = generator(device, seed, "sequence", k)
            return draw_sequences(digits, digits.images, batch_size, source)

        return batch

    def draw_fixed(self, part: str, seed: int, data_root: Path | None) -> Iterator[Batch]:
        """The fixed images on the CPU; see ``Dataset.draw_fixed``."""
        if part not in ("validation", "test"):
            raise OptionError(f"part must be validation or test, got {part!r}")
        digits, others = _load(part, data_root), _load("train", data_root).images
        return (
            draw_sequences(
                digits,
                others,
                min(BLOCK, len(digits) - start),
                generator("cpu", seed, "sequence", part, start),
            )
            for start in range(0, len(digits), BLOCK)
        )

    def probes(self, *, seed: int = FIXED_SEED, data_root: Path | None = None) -> Batch:
        """The first validation images, and their labels."""
        images, labels = next(self.fixed("validation", data_root=data_root))
        return images[:PROBES].clone(), labels[:PROBES]


def _load(part: str, data_root: Path | None) -> Digits:
    if part == "test":
        return Digits(*load_mnist("test", data_root))
    digits = Digits(*load_mnist("train", data_root))
    train, validation = split(digits, len(digits) // 6)
    return train if part == "train" else validation
