"""Distorted digits: an endless stream of training batches, and fixed sets for evaluation."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Integral

import torch
from torch import Tensor

from spatial_transformer.errors import OptionError, ShapeError
from spatial_transformer.experiments.data.cluttered import TranslatedCluttered
from spatial_transformer.experiments.data.distortion import Distortion
from spatial_transformer.experiments.data.elastic import Elastic
from spatial_transformer.experiments.data.perturbed import Perturbed
from spatial_transformer.experiments.data.projected import Projected
from spatial_transformer.experiments.data.rotated import Rotated
from spatial_transformer.experiments.data.rts import RotatedTranslatedScaled
from spatial_transformer.registry import Registry

DISTORTIONS: Registry[Distortion] = Registry("data set")
for _distortion in (
    *(Rotated, RotatedTranslatedScaled, Projected, Elastic, TranslatedCluttered),
    Perturbed,
):
    DISTORTIONS.add(_distortion.name, _distortion)

#: training digits set aside to choose by (never trained on, never reported as test)
VALIDATION = 5_000


def generator(device: torch.device | str, *key: object) -> torch.Generator:
    """A generator whose state is a function of ``key`` alone (and of the kind of device).

    Examples:
        >>> a, b = generator("cpu", 0, "x"), generator("cpu", 0, "y")
        >>> bool(torch.rand(1, generator=a) == torch.rand(1, generator=b))
        False
    """
    key = tuple(int(k) if isinstance(k, Integral) else k for k in key)  # NumPy's are told otherwise
    digest = hashlib.sha256(repr(key).encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:7], "big"))


@dataclass(frozen=True)
class Digits:
    """Images ``(N, 28, 28)`` uint8 and labels ``(N,)`` int64, on one device."""

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        if self.images.dim() != 3 or len(self.images) != len(self.labels) or not len(self.labels):
            raise ShapeError(
                f"digits must be images (N, 28, 28) and labels (N,), got "
                f"{tuple(self.images.shape)} and {tuple(self.labels.shape)}"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str) -> "Digits":
        """The digits on another device."""
        return Digits(self.images.to(device), self.labels.to(device))

    def take(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Digits ``(B, 1, 28, 28)`` in [0, 1] and their labels."""
        return self.images[index].unsqueeze(1).float() / 255, self.labels[index]


def split(digits: Digits, validation: int = VALIDATION) -> tuple[Digits, Digits]:
    """Training digits and validation digits, always the same ones.

    Raises:
        OptionError: If there are not more digits than ``validation``.
    """
    if not 0 < validation < len(digits):
        raise OptionError(f"validation={validation} does not leave any of {len(digits)} digits")
    order = torch.randperm(len(digits), generator=generator("cpu", "validation"))
    order = order.to(digits.labels.device)
    validation_index, training_index = order[:validation], order[validation:]
    train = Digits(digits.images[training_index], digits.labels[training_index])
    return train, Digits(digits.images[validation_index], digits.labels[validation_index])


class Order:
    """The order in which training visits ``count`` images, batch by batch without end.

    Batch k is a function of (seed, k) alone. Every epoch has a new order; its last, partial batch
    is dropped.

    Raises:
        OptionError: If there are fewer images than ``batch_size``.
    """

    def __init__(
        self, count: int, batch_size: int, seed: object, device: torch.device | str = "cpu"
    ) -> None:
        if not 0 < batch_size <= count:
            raise OptionError(f"batch_size must be in 1..{count}, got {batch_size}")
        self.count, self.batch_size, self.seed, self.device = count, batch_size, seed, device
        self._epoch: tuple[int, Tensor] = (-1, torch.empty(0))

    @property
    def batches_per_epoch(self) -> int:
        """The number of whole batches in an epoch."""
        return self.count // self.batch_size

    def batch(self, k: int) -> Tensor:
        """The indices ``(B,)`` of batch k."""
        epoch, position = divmod(k, self.batches_per_epoch)
        if self._epoch[0] != epoch:
            source = generator(self.device, self.seed, "order", epoch)
            order = torch.randperm(self.count, generator=source, device=self.device)
            self._epoch = (epoch, order)
        return self._epoch[1][position * self.batch_size : (position + 1) * self.batch_size]


class Stream:
    """Newly distorted batches without end.

    Batch k is a function of (seed, k) alone: training can resume at any k with the same batches.
    Every epoch visits the digits in a new order (its last, partial batch is dropped) and distorts
    them anew.
    """

    def __init__(
        self, digits: Digits, distortion: Distortion, batch_size: int, seed: object
    ) -> None:
        self.digits, self.distortion, self.seed = digits, distortion, seed
        self.order = Order(len(digits), batch_size, seed, digits.labels.device)

    def batch(self, k: int) -> tuple[Tensor, Tensor]:
        """Batch k: images ``(B, 1, size, size)`` in [0, 1], labels ``(B,)``."""
        images, labels = self.digits.take(self.order.batch(k))
        source = generator(self.digits.labels.device, self.seed, "distort", k)
        return self.distortion(images, source), labels


def fixed_blocks(
    digits: Digits, distortion: Distortion, seed: object = 0, block: int = 1_000
) -> Iterator[tuple[Tensor, Tensor]]:
    """All digits distorted once, the same way for a seed, in blocks.

    Yields:
        Images ``(B, 1, size, size)`` and labels ``(B,)``, ``block`` at a time.
    """
    device = digits.labels.device
    for start in range(0, len(digits), block):
        index = torch.arange(start, min(start + block, len(digits)), device=device)
        clean, labels = digits.take(index)
        yield distortion(clean, generator(device, seed, "fixed", start)), labels


def fixed_set(
    digits: Digits, distortion: Distortion, seed: object = 0, block: int = 1_000
) -> tuple[Tensor, Tensor]:
    """``fixed_blocks`` in one piece: images ``(N, 1, size, size)`` and labels ``(N,)``."""
    images, labels = zip(*fixed_blocks(digits, distortion, seed, block), strict=True)
    return torch.cat(images), torch.cat(labels)


def make_distortion(name: str) -> Distortion:
    """A distortion by its registered name.

    Raises:
        UnknownNameError: If the name is not registered; the message lists the names.

    Examples:
        >>> make_distortion("rts").size
        42
    """
    return DISTORTIONS.make(name)
