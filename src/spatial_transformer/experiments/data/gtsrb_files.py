"""GTSRB's folders and files as they are published: tables of rows, and PPM images."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from spatial_transformer.errors import DataError, OptionError
from spatial_transformer.experiments.data.signs import SIGNS
from spatial_transformer.experiments.data.stream import generator
from spatial_transformer.extras import require
from spatial_transformer.files import read_at_most

CLASSES = len(SIGNS)
COLUMNS = ("Filename", "Width", "Height", "Roi.X1", "Roi.Y1", "Roi.X2", "Roi.Y2", "ClassId")
#: where the labels of the test images lie: it is published apart from the images
TEST_TABLE = "GT-final_test.csv"
#: bytes of a table (the longest has 12,630 rows), pixels of an image's side (250 at most)
MOST_BYTES, MOST_PIXELS = 4 * 2**20, 1_024


@dataclass(frozen=True)
class Row:
    """An image's file, its size in pixels as its table says, the sign's box in it, its class."""

    file: Path
    size: tuple[int, int]
    box: tuple[int, int, int, int]
    label: int

    @property
    def track(self) -> str:
        """What is before the "_" of a training image's name: one sign, filmed as it comes near."""
        return self.file.name.partition("_")[0]


def find_folder(data_root: Path | str | None) -> Path:
    """The folder of ``Final_Training`` and ``Final_Test``: ``data_root`` or ``GTSRB`` below it.

    Raises:
        DataError: If there is none.
    """
    if data_root is None:
        raise DataError(
            "GTSRB is not fetched: name the folder of Final_Training and Final_Test with "
            "--data-root"
        )
    for folder in (Path(data_root), Path(data_root) / "GTSRB"):
        if (folder / "Final_Training").is_dir():
            return folder
    raise DataError(f"{data_root}: there is no Final_Training, nor GTSRB/Final_Training")


def read_table(path: Path, images: Path, label: int | None = None) -> list[Row]:
    """The rows of a table; the images that they name are there.

    Args:
        path: The CSV file.
        images: The folder of its images.
        label: The class of all of them; None for any.

    Raises:
        DataError: If the file is missing or broken; the message names its line.
    """
    try:
        with path.open("rb") as file:
            text = read_at_most(file, MOST_BYTES + 1).decode("ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a table of GTSRB: {error}") from error
    if len(text) > MOST_BYTES:
        raise DataError(f"{path}: not a table of GTSRB: it has more than {MOST_BYTES} bytes")
    lines = list(csv.reader(io.StringIO(text), delimiter=";", quoting=csv.QUOTE_NONE))
    if not lines or tuple(lines[0]) != COLUMNS:
        raise DataError(f"{path}, line 1: must be {';'.join(COLUMNS)}")
    present = {file.name for file in images.iterdir()} if images.is_dir() else set()
    rows = []
    for number, cells in enumerate(lines[1:], 2):
        where = f"{path}, line {number}"
        row = _read_row(cells, images, where)
        if label is not None and row.label != label:
            raise DataError(f"{where}: ClassId is {row.label} in the folder of class {label}")
        if row.file.name not in present:
            raise DataError(f"{where}: there is no {row.file}")
        rows.append(row)
    if not rows:
        raise DataError(f"{path}: has no rows")
    return rows


def _read_row(cells: Sequence[str], images: Path, where: str) -> Row:
    try:
        name = cells[0]
        width, height, x1, y1, x2, y2, label = map(int, cells[1:])
    except (ValueError, IndexError):
        raise DataError(f"{where}: must be a file's name and 7 numbers, got {cells}") from None
    if Path(name).name != name or not name.endswith(".ppm"):
        raise DataError(f"{where}: {name!r} is not the name of a .ppm file")
    if not (0 <= x1 < x2 < width and 0 <= y1 < y2 < height):
        raise DataError(
            f"{where}: the box {x1, y1, x2, y2} is not one of an image of {width}x{height}"
        )
    if not 0 <= label < CLASSES:
        raise DataError(f"{where}: ClassId must be in 0..{CLASSES - 1}, got {label}")
    return Row(images / name, (width, height), (x1, y1, x2, y2), label)


def read_training_tables(folder: Path) -> list[list[Row]]:
    """The rows of each class.

    Raises:
        DataError: If a class's folder is missing, or a table is broken.
    """
    tables = []
    for label in range(CLASSES):
        images = folder / "Final_Training" / "Images" / f"{label:05d}"
        if not images.is_dir():
            raise DataError(f"{images}: there is no folder of class {label} ({SIGNS[label]})")
        tables.append(read_table(images / f"GT-{label:05d}.csv", images, label))
    return tables


def read_test_table(folder: Path) -> list[Row]:
    """The rows of the test images. Their labels are published apart: several places are tried.

    Raises:
        DataError: If there is no table, or it is broken.
    """
    test = folder / "Final_Test"
    for place in (test, test / "Images", folder, folder.parent):
        if (place / TEST_TABLE).is_file():
            return read_table(place / TEST_TABLE, test / "Images")
    raise DataError(f"{test}: there is no {TEST_TABLE}, the labels of the test images")


def split_tracks(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Training and validation rows of a class: whole tracks, always the same ones.

    Frames of a track are nearly the same image. One track in ten is for validation, at least one.

    Raises:
        DataError: If there is a single track.
    """
    tracks = sorted({row.track for row in rows})
    if len(tracks) < 2:
        raise DataError(
            f"{rows[0].file.parent}: has images of one track only, {tracks[0]!r}: there is none "
            "left for validation"
        )
    source = generator("cpu", "gtsrb validation", rows[0].label)
    order = torch.randperm(len(tracks), generator=source).tolist()
    held = {tracks[k] for k in order[: max(1, round(len(tracks) / 10))]}
    return [r for r in rows if r.track not in held], [r for r in rows if r.track in held]


def read_image(row: Row, size: int, crop: bool = False) -> np.ndarray:
    """An image, resized.

    Args:
        row: Its row.
        size: The side of the resized image, in pixels.
        crop: Only the sign's box, scaled as the file is against its table's size.

    Returns:
        ``(3, size, size)`` uint8.

    Raises:
        DataError: If it does not decode.
    """
    pillow = require("PIL.Image", "viz")
    try:
        with pillow.open(row.file, formats=("PPM",)) as file:
            if max(file.size) > MOST_PIXELS:
                raise ValueError(f"it has {file.width}x{file.height} pixels")
            image = file.convert("RGB")
    except (OSError, ValueError, SyntaxError, pillow.DecompressionBombError) as error:
        raise DataError(f"{row.file}: not an image: {error}") from error
    box = None
    if crop:
        x, y = image.width / row.size[0], image.height / row.size[1]
        x1, y1, x2, y2 = row.box  # of pixels, the last one included
        box = (x1 * x, y1 * y, (x2 + 1) * x, (y2 + 1) * y)
    if box is not None or image.size != (size, size):
        image = image.resize((size, size), pillow.Resampling.BILINEAR, box)
    return np.asarray(image).transpose(2, 0, 1)


@lru_cache(maxsize=3)
def load_part(folder: Path, part: str, size: int, crop: bool) -> tuple[Tensor, Tensor]:
    """The images and labels of a part; the parts of a data set are kept in memory.

    Training and validation images are mixed, always in the same way; test images are as their
    table lists them.

    Args:
        folder: Of ``find_folder``.
        part: "train", "validation" or "test".
        size: As for ``read_image``.
        crop: As for ``read_image``.

    Returns:
        Images ``(N, 3, size, size)`` uint8 and labels ``(N,)``.

    Raises:
        DataError: If files are missing or broken; the message names the first.
        OptionError: If ``part`` is another.
    """
    if part == "test":
        rows = read_test_table(folder)
    elif part in ("train", "validation"):
        classes = map(split_tracks, read_training_tables(folder))
        rows = [row for train, held in classes for row in (train if part == "train" else held)]
        source = generator("cpu", "gtsrb", part)
        rows = [rows[k] for k in torch.randperm(len(rows), generator=source).tolist()]
    else:
        raise OptionError(f"part must be train, validation or test, got {part!r}")
    images = torch.empty(len(rows), 3, size, size, dtype=torch.uint8)
    pixels = images.numpy()
    for k, row in enumerate(rows):
        pixels[k] = read_image(row, size, crop)
    return images, torch.tensor([row.label for row in rows])
