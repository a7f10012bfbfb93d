"""GTSRB, German traffic signs: photographs, read from the folders as they are published."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from spatial_transformer.experiments.data.dataset import Batch, Dataset
from spatial_transformer.experiments.data.distortion import uniform
from spatial_transformer.experiments.data.gtsrb_files import CLASSES, find_folder, load_part
from spatial_transformer.experiments.data.signs import SIGNS
from spatial_transformer.experiments.data.stream import Order, generator
from spatial_transformer.functional import warp
from spatial_transformer.options import check_count

#: images shown at once when measuring
BLOCK = 500

#: the most that training images are turned (radians), stretched, sheared and moved (of their
#: width), and how their light changes: the range of its gamma, and of each colour's gain
ANGLE, SCALE, SHEAR, SHIFT = math.radians(10), (0.85, 1.15), 0.15, 0.1
GAMMA, GAIN = (0.7, 1.4), (0.8, 1.2)


def jitter(images: Tensor, source: torch.Generator) -> Tensor:
    """Randomly turn, scale, stretch, shear and move each image, and change its light.

    The warp reads ``rotation @ shear / scales`` about the image's centre; what lies beyond the
    border is the border's pixels. Signs are not mirrored: that makes others of them.

    Args:
        images: ``(B, 3, H, W)`` in [0, 1].
        source: What is drawn depends on its state alone.
    """
    count = len(images)
    angle = uniform(source, count, -ANGLE, ANGLE)
    wide, high = uniform(source, count, *SCALE), uniform(source, count, *SCALE)
    shear = uniform(source, count, -SHEAR, SHEAR)
    x, y = (2 * uniform(source, count, -SHIFT, SHIFT) for _ in range(2))
    cos, sin = torch.cos(angle), torch.sin(angle)
    rows = (cos / wide, (cos * shear - sin) / high, x, sin / wide, (sin * shear + cos) / high, y)
    moved = warp(images, torch.stack(rows, dim=-1), "affine", padding="border")
    gamma = uniform(source, count, *GAMMA).view(-1, 1, 1, 1)
    gain = uniform(source, 3 * count, *GAIN).view(-1, 3, 1, 1)
    return (moved.clamp(0, 1) ** gamma * gain).clamp_(0, 1)


class Gtsrb(Dataset):
    """Photographs of 43 traffic signs, in colour.

    39,209 training images, of which one track in ten of each class is for validation, and 12,630
    test images. Training images are jittered.

    Args:
        size: The side to which images are resized, in pixels; they were taken at 15 to 250.
        crop: Only the signs' boxes, without what is around them.

    Note:
        Source: Stallkamp et al., "Man vs. computer", Neural Networks 32 (2012).
    """

    classes = CLASSES

    def __init__(self, size: int = 32, crop: bool = False) -> None:
        self.size, self.crop = check_count("size", size), crop
        self.name = f"gtsrb{'' if size == 32 else size}{'_crop' if crop else ''}"
        self.title = f"traffic signs {size}x{size}"
        self.in_shape = (3, size, size)

    @property
    def labels(self) -> tuple[str, ...]:
        """What the signs mean."""
        return SIGNS

    def batches(
        self,
        batch_size: int,
        seed: int,
        *,
        data_root: Path | None = None,
        device: torch.device | str = "cpu",
    ) -> Callable[[int], Batch]:
        """Training batches; see ``Dataset.batches``. All parts are read, and so checked, first."""
        for part in ("validation", "test"):
            self._load(part, data_root)
        images, labels = (t.to(device) for t in self._load("train", data_root))
        order = Order(len(labels), batch_size, seed, device)

        def batch(k: int) -> Batch:
            index = order.batch(k)
            chosen = images[index].float() / 255
            return jitter(chosen, generator(device, seed, "jitter", k)), labels[index]

        return batch

    def draw_fixed(self, part: str, seed: int, data_root: Path | None) -> Iterator[Batch]:
        """The fixed images on the CPU; see ``Dataset.draw_fixed``."""
        images, labels = self._load(part, data_root)
        blocks = zip(images.split(BLOCK), labels.split(BLOCK), strict=True)
        return ((block.float() / 255, truth) for block, truth in blocks)

    def _load(self, part: str, data_root: Path | None) -> Batch:
        return load_part(find_folder(data_root), part, self.size, self.crop)
