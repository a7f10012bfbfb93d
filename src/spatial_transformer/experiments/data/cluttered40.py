"""Cluttered MNIST, 40x40: a data set of fixed images, read from a file."""

import math
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile

import numpy as np
import torch
from torch import Tensor

from spatial_transformer.errors import DataError
from spatial_transformer.experiments.data.dataset import Batch, Dataset
from spatial_transformer.experiments.data.distortion import similarity_theta, uniform
from spatial_transformer.experiments.data.stream import Order, generator
from spatial_transformer.functional import warp

FILE = "cluttered_mnist_40x40.npz"
SIZE = 40
#: bytes of an array: the largest is of 10,000 images, in float64 at most
MOST_BYTES = 10_000 * SIZE**2 * 8
#: images shown at once when measuring
BLOCK = 500
_PARTS = {"train": "train", "validation": "valid", "test": "test"}


def load_cluttered40(
    part: str, data_root: Path | str | None, device: torch.device | str = "cpu"
) -> Batch:
    """The images and labels of a part of cluttered MNIST.

    Args:
        part: "train" (10,000 images), "validation" or "test" (1,000 each).
        data_root: Where the file is.
        device: Where to put the tensors.

    Returns:
        Images ``(N, 1, 40, 40)`` in [0, 1] and labels ``(N,)``.

    Raises:
        DataError: If the file is missing or broken; the message names it.
    """
    if data_root is None:
        raise DataError(f"cluttered40 is not fetched: name the folder of {FILE} with --data-root")
    path = Path(data_root) / FILE
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    names = f"X_{_PARTS[part]}", f"y_{_PARTS[part]}"
    try:
        with ZipFile(path) as archive:
            images, labels = (torch.from_numpy(_read_array(archive, n)) for n in names)
    except (
        OSError, ValueError, LookupError, TypeError, EOFError, BadZipFile, zlib.error,
        RuntimeError,  # encrypted
    ) as error:  # fmt: skip
        raise DataError(f"{path}: not cluttered MNIST: {error}") from error
    if images.shape != (len(labels), SIZE**2) or not len(labels):
        raise DataError(
            f"{path}: {names[0]} must be (N, {SIZE**2}) with as many labels, got "
            f"{tuple(images.shape)} and {tuple(labels.shape)}"
        )
    are_classes = not labels.is_floating_point() and labels.numel() == len(images)
    if not are_classes or not 0 <= images.min() <= images.max() <= 1:
        raise DataError(
            f"{path}: {names[0]} must lie in [0, 1] and {names[1]} be whole numbers, one an image; "
            f"got values up to {images.max().item():g}, and {labels.dtype} {tuple(labels.shape)}"
        )
    return images.float().view(-1, 1, SIZE, SIZE).to(device), labels.long().flatten().to(device)


def _read_array(archive: ZipFile, name: str) -> np.ndarray:
    """An array of an .npz file; its header is checked before memory is allocated.

    Raises:
        ValueError: If it is not the array expected; zipfile and numpy raise others for broken
            files.
    """
    member = archive.getinfo(f"{name}.npy")
    if member.compress_type not in (ZIP_STORED, ZIP_DEFLATED):  # LZMA's own header may ask for GB
        raise ValueError(f"{name} is compressed otherwise than numpy does it")
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        readers = np.lib.format.read_array_header_1_0, np.lib.format.read_array_header_2_0
        shape, _, dtype = readers[version[0] - 1](file)
    size = math.prod(shape) * dtype.itemsize
    if dtype.kind not in "biuf" or size > min(member.file_size, MOST_BYTES):
        raise ValueError(
            f"{name} is declared as {dtype} {shape} in {member.file_size} bytes, which it cannot be"
        )
    with archive.open(member) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def jitter(images: Tensor, source: torch.Generator) -> Tensor:
    """Randomly rotate (20 degrees), scale (0.8 to 1.2) and translate (4 pixels) each image.

    All uniform; there are only 10,000 images to train on.
    """
    count, size = len(images), images.shape[-1]
    angle = uniform(source, count, -math.pi / 9, math.pi / 9)
    scale = uniform(source, count, 0.8, 1.2)
    x, y = uniform(source, count, -4, 4), uniform(source, count, -4, 4)
    return warp(images, similarity_theta(angle, scale, x, y, size, half=size / 2), "affine")


class Cluttered40(Dataset):
    """Cluttered MNIST: a digit among pieces of others on 40x40.

    10,000 training, 1,000 validation and 1,000 test images. Training images are jittered.
    """

    name = "cluttered40"
    title = "cluttered 40x40"
    in_shape = (1, SIZE, SIZE)

    def batches(
        self,
        batch_size: int,
        seed: int,
        *,
        data_root: Path | None = None,
        device: torch.device | str = "cpu",
    ) -> Callable[[int], Batch]:
        """Training batches; see ``Dataset.batches``."""
        images, labels = load_cluttered40("train", data_root, device)
        order = Order(len(labels), batch_size, seed, device)

        def batch(k: int) -> Batch:
            index = order.batch(k)
            return jitter(images[index], generator(device, seed, "jitter", k)), labels[index]

        return batch

    def draw_fixed(self, part: str, seed: int, data_root: Path | None) -> Iterator[Batch]:
        """The fixed images on the CPU; see ``Dataset.draw_fixed``."""
        images, labels = load_cluttered40(part, data_root)
        return zip(images.split(BLOCK), labels.split(BLOCK), strict=True)
