"""The data sets by name: MNIST under every distortion, and the others."""

from functools import partial

from spatial_transformer.experiments.data.addition import Addition
from spatial_transformer.experiments.data.cluttered40 import Cluttered40
from spatial_transformer.experiments.data.colocalisation import DISTRACTORS, Colocalisation
from spatial_transformer.experiments.data.dataset import Dataset, DistortedDigits
from spatial_transformer.experiments.data.extruded import Extruded
from spatial_transformer.experiments.data.gtsrb import Gtsrb
from spatial_transformer.experiments.data.sequence import Sequence100
from spatial_transformer.experiments.data.stream import DISTORTIONS
from spatial_transformer.registry import Registry

DATASETS: Registry[Dataset] = Registry("data set")


def _distorted(name: str) -> Dataset:
    return DistortedDigits(DISTORTIONS.make(name))


def _volume(size: int) -> Dataset:
    return DistortedDigits(Extruded(size))


for _name in DISTORTIONS.names():
    DATASETS.add(_name, partial(_distorted, _name))
for _dataset in (Addition, Cluttered40, Sequence100):
    DATASETS.add(_dataset.name, _dataset)
for _signs in (Gtsrb(), Gtsrb(48), Gtsrb(crop=True), Gtsrb(48, crop=True)):
    DATASETS.add(_signs.name, partial(Gtsrb, _signs.size, _signs.crop))
for _size in (60, 30):
    DATASETS.add(f"volume{_size}", partial(_volume, _size))
for _kind in DISTRACTORS:
    for _digit in range(10):
        DATASETS.add(f"{_kind}{_digit}", partial(Colocalisation, _kind, _digit))


def make_dataset(name: str) -> Dataset:
    """A data set by its registered name.

    Raises:
        UnknownNameError: If the name is not registered; the message lists the names.

    Examples:
        >>> make_dataset("rts").in_shape
        (1, 42, 42)
    """
    return DATASETS.make(name)
