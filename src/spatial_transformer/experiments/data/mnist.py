"""MNIST: found locally or fetched, and always checked."""

import hashlib
import logging
import os
import warnings
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from spatial_transformer.errors import DataError, OptionError
from spatial_transformer.experiments.data.fetch import sources
from spatial_transformer.experiments.data.idx import naming, parse_idx, unpack
from spatial_transformer.files import write_whole

#: the raw files and their sha256
SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
#: of the raw files, bytes: no more is read, unpacked or fetched
SIZES = {
    "train-images-idx3-ubyte": 16 + 60_000 * 28 * 28,
    "train-labels-idx1-ubyte": 8 + 60_000,
    "t10k-images-idx3-ubyte": 16 + 10_000 * 28 * 28,
    "t10k-labels-idx1-ubyte": 8 + 10_000,
}
_PARTS = {"train": "train", "test": "t10k"}
#: where in a data root the files may lie
_FOLDERS = ("", "MNIST/raw", "mnist")

log = logging.getLogger(__name__)


def cache_folder() -> Path:
    """The folder of fetched files: ``$SPATIAL_TRANSFORMER_CACHE`` or the user's cache."""
    own = os.environ.get("SPATIAL_TRANSFORMER_CACHE")
    user = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return (Path(own) if own else Path(user) / "spatial_transformer") / "mnist"


def checked(name: str, file: BinaryIO, where: str) -> bytes:
    """The raw bytes of file ``name``, raw or gzipped, if their hash is right.

    Raises:
        DataError: If the file is broken or has another hash; the message names it.
    """
    raw = unpack(file, where, SIZES[name] + 1)
    if len(raw) > SIZES[name]:
        raise DataError(
            f"{where}: not MNIST's {name}: more than its {SIZES[name]} bytes; it is not used"
        )
    digest = hashlib.sha256(raw).hexdigest()
    if digest != SHA256[name]:
        raise DataError(
            f"{where}: not MNIST's {name}: {len(raw)} bytes of sha256 {digest}, "
            f"expected {SHA256[name]}; it is not used"
        )
    return raw


def _read(name: str, path: Path) -> bytes:
    with naming(str(path)), path.open("rb") as file:
        return checked(name, file, str(path))


def _find(name: str, root: Path) -> Path | None:
    for folder in _FOLDERS:
        for file in (name, f"{name}.gz"):
            path = root / folder / file
            if path.is_file():
                return path
    return None


def locate_mnist(data_root: Path | str | None = None) -> Path | None:
    """The folder that has all four files, or None. Nothing is read or fetched."""
    for root in (data_root, cache_folder()):
        if root is not None:
            paths = [_find(name, Path(root)) for name in SHA256]
            if all(paths):
                assert paths[0] is not None
                return paths[0].parent
    return None


def load_mnist(
    split: str, data_root: Path | str | None = None, *, fetch: bool = True
) -> tuple[Tensor, Tensor]:
    """MNIST's digits: images ``(N, 28, 28)`` uint8 and labels ``(N,)`` int64.

    The files are searched for in ``data_root`` (raw or .gz, also in its folders ``MNIST/raw`` and
    ``mnist``), then, with a warning in the log, in the cache; if they are in neither they are
    fetched into the cache. Every byte used has the right sha256. A wrong file in ``data_root`` is
    an error, a wrong one in the cache is fetched again, with a warning.

    Args:
        split: "train" (60,000 digits) or "test" (10,000).
        data_root: The folder to search first.
        fetch: False never uses the network: what would have to be fetched is an error.

    Raises:
        OptionError: If ``split`` is another.
        DataError: If a file is wrong, or none can be had; the message names the file, or every
            source that was tried.
    """
    if split not in _PARTS:
        raise OptionError(f"split must be 'train' or 'test', got {split!r}")
    data_root = None if data_root is None else Path(data_root)
    if data_root is not None and not data_root.is_dir():
        raise DataError(f"--data-root {data_root}: no such folder")
    names = [n for n in SHA256 if n.startswith(_PARTS[split])]
    images, labels = (parse_idx(_raw(n, data_root, fetch), n) for n in names)
    return torch.from_numpy(images), torch.from_numpy(labels.astype(np.int64))


def _raw(name: str, data_root: Path | None, fetch: bool) -> bytes:
    if data_root is not None:
        path = _find(name, data_root)
        if path is not None:
            return _read(name, path)
        _say_not_there(name, data_root)
    cached = cache_folder() / name
    if cached.is_file():
        try:
            return _read(name, cached)
        except DataError as error:
            if not fetch:
                raise
            warnings.warn(f"{error}. Fetching it again.", stacklevel=4)  # load_mnist's caller
    if not fetch:
        raise DataError(f"{cached}: no such file, and fetching was ruled out")
    fetch_mnist()
    return _read(name, cached)


@cache
def _say_not_there(name: str, data_root: Path) -> None:
    log.warning("%s is not in %s: using the cache", name, data_root)


def fetch_mnist() -> Path:
    """Fetch all four files into the cache from the first source that has them right.

    Raises:
        DataError: If every source fails, or the cache cannot be written; the message lists why.
    """
    folder = cache_folder()
    failures = []
    for source, get in sources():
        log.info("fetching MNIST: %s", source)
        try:
            files = {n: checked(n, BytesIO(raw), f"{n} of {source}") for n, raw in get(SIZES)}
            missing = [n for n in SHA256 if n not in files]
            if missing:
                raise DataError(f"lacks {', '.join(missing)}")
        except (DataError, OSError) as error:
            log.info("%s failed: %s", source, error)
            failures.append(f"{source}: {error}")
            continue
        try:
            for name, raw in files.items():
                write_whole(folder / name, lambda p, raw=raw: p.write_bytes(raw))  # type: ignore[misc]
        except OSError as error:
            raise DataError(
                f"{folder}: cannot be written to: {error.strerror}; "
                "name another folder with SPATIAL_TRANSFORMER_CACHE"
            ) from error
        return folder
    raise DataError(
        "MNIST could not be fetched:\n  "
        + "\n  ".join(failures)
        + f"\nPut its four files ({', '.join(SHA256)}) into a folder and name it with --data-root"
    )
