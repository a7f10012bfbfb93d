"""The IDX file format of MNIST, raw or gzipped, read strictly and written."""

import gzip
import io
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from spatial_transformer.errors import DataError
from spatial_transformer.files import pieces, read_at_most

_DTYPES: dict[int, np.dtype[Any]] = {
    0x08: np.dtype("u1"),
    0x09: np.dtype("i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Turn errors in reading a file, raw or gzipped, into a DataError that names it."""
    try:
        yield
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{name}: broken gzip data: {error}") from error
    except OSError as error:
        raise DataError(f"{name}: cannot be read: {error.strerror or error}") from error


def unpacked(file: BinaryIO) -> BinaryIO:
    """The file itself, or a decompressing reader if its content is gzip, whatever the suffix."""
    gzipped = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    return cast(BinaryIO, gzip.GzipFile(fileobj=file)) if gzipped else file


def unpack(file: BinaryIO, name: str, most: int) -> bytes:
    """The bytes of a file, decompressed if they are gzip, ``most`` of them at most.

    Raises:
        DataError: If it is broken or larger; the message names it.
    """
    with naming(name):
        return read_at_most(unpacked(file), most)


def parse_idx(data: bytes, name: str) -> np.ndarray:
    """The array in the bytes of an IDX file, raw or gzipped.

    Raises:
        DataError: If it is broken; the message names the file and the byte.

    Examples:
        >>> parse_idx(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 9]), "two-bytes")
        array([7, 9], dtype=uint8)
    """
    with naming(name):
        return _parse(unpacked(io.BytesIO(data)), name)


def _parse(file: BinaryIO, name: str) -> np.ndarray:
    """The array; its declared size is checked before memory is allocated."""
    head = file.read(4)
    if len(head) < 4:
        raise DataError(f"{name}: ends at byte {len(head)}, within the 4 bytes of its magic number")
    if head[0] or head[1]:
        raise DataError(f"{name}: not an IDX file: bytes 0-1 are {head[:2].hex()}, not 0000")
    if head[2] not in _DTYPES:
        raise DataError(f"{name}: byte 2 is {head[2]:#04x}, which is no IDX data type")
    rank = head[3]
    start = 4 + 4 * rank
    head += file.read(4 * rank)
    if rank == 0 or len(head) < start:
        raise DataError(
            f"{name}: byte 3 declares {rank} dimensions, but the file has {len(head)} bytes"
        )
    shape = tuple(int(n) for n in np.frombuffer(head, ">u4", rank, 4))
    dtype = _DTYPES[head[2]]
    declared = dtype.itemsize * math.prod(shape)  # Python ints: a broken header cannot overflow
    there = sum(len(piece) for piece in pieces(file, declared + 1))
    if there != declared:
        raise DataError(
            f"{name}: its header declares shape {shape} ({declared} bytes from byte {start} on), "
            f"but {there if there < declared else 'more'} bytes are there"
        )
    try:
        array = np.empty(shape, dtype)
    except ValueError as error:  # more dimensions, or larger ones beside a 0, than numpy has
        raise DataError(
            f"{name}: bytes 3-{start - 1} declare an impossible shape: {error}"
        ) from error
    file.seek(start)
    flat, end = array.reshape(-1).view(np.uint8), 0
    for piece in pieces(file, declared):
        flat[end : end + len(piece)] = np.frombuffer(piece, np.uint8)
        end += len(piece)
    if end != declared:
        raise DataError(f"{name}: it changed while it was read")
    return array.astype(dtype.newbyteorder("="), copy=False)


def read_idx(source: str | Path | bytes, name: str | None = None) -> np.ndarray:
    """The array in an IDX file or in the bytes of one, raw or gzipped.

    It reads what the header declares, and one byte more, to check that there is none; a gzipped
    file twice, so that a broken one takes no memory.

    Args:
        source: The file's path, or its bytes.
        name: The name in error messages; the path by default.

    Raises:
        DataError: If it is broken; the message names the file and the byte.
    """
    if isinstance(source, bytes):
        return parse_idx(source, name or "<bytes>")
    name = name or str(source)
    with naming(name), open(source, "rb") as file:
        return _parse(unpacked(file), name)


def encode_idx(array: np.ndarray) -> bytes:
    """A uint8 array as the bytes of an IDX file."""
    header = bytes([0, 0, 0x08, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return header + np.ascontiguousarray(array, np.uint8).tobytes()
