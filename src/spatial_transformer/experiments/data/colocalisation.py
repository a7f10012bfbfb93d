"""Co-localisation: a hundred unlabelled images of one class, each with a digit somewhere."""

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from spatial_transformer.errors import OptionError
from spatial_transformer.experiments.data.cluttered import add_patches, place, whole
from spatial_transformer.experiments.data.dataset import (
    FIXED_SEED,
    PROBES,
    Batch,
    Dataset,
    load_digits,
)
from spatial_transformer.experiments.data.distortion import uniform
from spatial_transformer.experiments.data.stream import generator
from spatial_transformer.functional import warp

#: height and width of the canvas, of a digit and of a distractor, in pixels
CANVAS, DIGIT, PATCH = 84, 28, 6
#: how far an image is moved before it is trained on, in pixels
SHIFT = 8
#: images of a set
COUNT = 100
#: distractors an image
DISTRACTORS = {"t": 0, "tc": 16}


def random_crops(count: int, source: torch.Generator) -> Tensor:
    """Attention thetas ``(count, 3)`` of digit-sized crops anywhere in the canvas."""
    scale = DIGIT / CANVAS
    x, y = (uniform(source, count, scale - 1, 1 - scale) for _ in range(2))
    return torch.stack([torch.full_like(x, scale), x, y], dim=1)


def moved(images: Tensor, source: torch.Generator) -> Tensor:
    """Translate each image by up to ``SHIFT`` whole pixels in x and in y, padding with black."""
    pixels = whole(source, (len(images), 2), 2 * SHIFT + 1) - SHIFT
    return warp(images, -2 * pixels / CANVAS, "translation")


class Colocalisation(Dataset):
    """100 digits of one class, each at a random position of a black 84x84 canvas (T).

    With clutter (TC) there are 16 6x6 crops of training digits as distractors. A batch is what the
    loss takes: images of the set without repetition, each translated a little, ``(B, 1, 84, 84)``,
    and the attention theta of a random crop of each, ``(B, 3)``. The only fixed part, "test", is
    the set itself, with the digits' boxes ``(100, 4)``: left, top, right, bottom edge in pixels.

    Note:
        Source: the paper's appendix A.2.
    """

    in_shape = (1, CANVAS, CANVAS)
    task = "colocalisation"
    version = 2  # images were not moved

    def __init__(self, kind: str, digit: int) -> None:
        if kind not in DISTRACTORS or not 0 <= digit <= 9:
            raise OptionError(f"co-localisation has t0 to t9 and tc0 to tc9, not {kind}{digit}")
        self.kind, self.digit = kind, digit
        self.name = f"{kind}{digit}"
        self.title = f"{kind.upper()}, digit {digit}"

    def images(self, seed: int, data_root: Path | None) -> tuple[Tensor, Tensor]:
        """The set of a seed: ``(100, 1, 84, 84)`` and the digits' boxes ``(100, 4)``."""
        digits = load_digits("train", data_root)
        source = generator("cpu", seed, "colocalisation", self.name)
        (alike,) = torch.where(digits.labels == self.digit)
        clean, _ = digits.take(alike[whole(source, (COUNT,), len(alike))])
        canvas, top, left = place(clean, CANVAS, source)
        if DISTRACTORS[self.kind]:
            which = whole(source, (COUNT * DISTRACTORS[self.kind],), len(digits))
            others, _ = digits.take(which)
            index = torch.arange(len(which), device=which.device).view(COUNT, -1)
            canvas = add_patches(canvas, others, index, PATCH, source)
        return canvas, torch.stack([left, top, left + DIGIT, top + DIGIT], dim=1).float()

    def batches(
        self,
        batch_size: int,
        seed: int,
        *,
        data_root: Path | None = None,
        device: torch.device | str = "cpu",
    ) -> Callable[[int], Batch]:
        """Training batches; see ``Dataset.batches``."""
        images = self.images(seed, data_root)[0].to(device)

        def batch(k: int) -> Batch:
            source = generator(device, seed, "images and crops", k)
            chosen = torch.randperm(COUNT, generator=source, device=device)[:batch_size]
            return moved(images[chosen], source), random_crops(len(chosen), source)

        return batch

    def draw_fixed(self, part: str, seed: int, data_root: Path | None) -> Iterator[Batch]:
        """The set itself, on the CPU; see ``Dataset.draw_fixed``."""
        if part != "test":
            raise OptionError(f"co-localisation has no {part} images: only the set itself, 'test'")
        return iter([self.images(seed, data_root)])

    def probes(self, *, seed: int = FIXED_SEED, data_root: Path | None = None) -> Batch:
        """The first images of the seed's set, and their boxes."""
        images, truth = self.images(seed, data_root)
        return images[:PROBES].clone(), truth[:PROBES]
