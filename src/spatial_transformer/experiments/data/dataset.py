"""The interface of data sets: endless training batches, and fixed sets in blocks."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from spatial_transformer.errors import OptionError
from spatial_transformer.experiments.data.distortion import Distortion
from spatial_transformer.experiments.data.mnist import load_mnist
from spatial_transformer.experiments.data.stream import Digits, Stream, fixed_blocks, split

#: images and labels, on one device
Batch = tuple[Tensor, Tensor]

#: the seed of every fixed validation and test set, the same for all models and training seeds
FIXED_SEED = 0

#: the most images that a training run is monitored by
PROBES = 10


class Dataset(ABC):
    """A data set by name; nothing is read before it is used."""

    name: str
    #: what a table's head says
    title: str
    #: of one image: (C, H, W) or (C, D, H, W)
    in_shape: tuple[int, ...]
    classes: int = 10
    #: labels of an image; 1 is a label ``(B,)``, more are a sequence ``(B, length)``
    length: int = 1
    #: the task, by its name in ``runner/tasks.py``
    task: str = "classification"
    #: raised when its images change: older records and checkpoints are not of it
    version: int = 1

    @property
    def labels(self) -> tuple[str, ...]:
        """What each class means, in words."""
        return tuple(map(str, range(self.classes)))

    @abstractmethod
    def batches(
        self,
        batch_size: int,
        seed: int,
        *,
        data_root: Path | None = None,
        device: torch.device | str = "cpu",
    ) -> Callable[[int], Batch]:
        """Training batches: batch k is a function of (seed, k) alone.

        Raises:
            DataError: If data are missing or broken.
        """

    @abstractmethod
    def draw_fixed(self, part: str, seed: int, data_root: Path | None) -> Iterator[Batch]:
        """``fixed`` on the CPU.

        Raises:
            DataError: If data are missing or broken.
        """

    def fixed(
        self,
        part: str,
        *,
        seed: int = FIXED_SEED,
        data_root: Path | None = None,
        device: torch.device | str = "cpu",
    ) -> Iterator[Batch]:
        """The "validation" or "test" images, the same for a seed, in blocks.

        They are drawn on the CPU, then moved: other kinds of devices have other random numbers, and
        their sets could not be compared.

        Raises:
            DataError: If data are missing or broken.
        """
        blocks = self.draw_fixed(part, seed, data_root)
        return ((images.to(device), labels.to(device)) for images, labels in blocks)

    def probes(self, *, seed: int = FIXED_SEED, data_root: Path | None = None) -> Batch:
        """A few fixed images to monitor training by, and their labels.

        One validation image of a class, of ten classes at most.

        Raises:
            DataError: If data are missing or broken.
        """
        images, labels = next(self.fixed("validation", data_root=data_root))
        classes = range(0, self.classes, -(-self.classes // PROBES))
        first = [int(i[0]) for k in classes if len(i := torch.where(labels == k)[0])]
        return images[first].clone(), labels[first]


def load_digits(
    part: str, data_root: Path | None = None, device: torch.device | str = "cpu"
) -> Digits:
    """MNIST's "train", "validation" (split off from train) or "test" digits.

    Raises:
        DataError: If MNIST is missing or broken.
        OptionError: If ``part`` is another.
    """
    if part == "test":
        return Digits(*load_mnist("test", data_root)).to(device)
    if part not in ("train", "validation"):
        raise OptionError(f"part must be train, validation or test, got {part!r}")
    train, held = split(Digits(*load_mnist("train", data_root)))
    return (train if part == "train" else held).to(device)


class DistortedDigits(Dataset):
    """MNIST under a distortion, newly drawn for every training batch."""

    def __init__(self, distortion: Distortion) -> None:
        self.distortion = distortion
        self.name, self.title = distortion.name, distortion.title
        self.in_shape = distortion.shape
        self.version = distortion.version

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
        return Stream(digits, self.distortion, batch_size, seed).batch

    def draw_fixed(self, part: str, seed: int, data_root: Path | None) -> Iterator[Batch]:
        """The fixed images on the CPU; see ``Dataset.draw_fixed``."""
        return fixed_blocks(load_digits(part, data_root), self.distortion, seed)
