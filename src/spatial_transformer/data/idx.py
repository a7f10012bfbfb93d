"""The IDX file format of MNIST, raw or gzipped, read strictly and written back."""

import gzip
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from spatial_transformer.errors import DataError

_DTYPES: dict[int, np.dtype[Any]] = {
    0x08: np.dtype("u1"),
    0x09: np.dtype("i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}


def unpack(data: bytes, name: str) -> bytes:
    """The bytes themselves, decompressed if they are gzip (by content, whatever the suffix).

    Raises: DataError naming the file.
    """
    if data[:2] != b"\x1f\x8b":
        return data
    try:
        return gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{name}: broken gzip data: {error}") from error


def parse_idx(data: bytes, name: str) -> np.ndarray:
    """The array in the bytes of an IDX file.

    Raises: DataError naming the file and the byte that is wrong.

    >>> parse_idx(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 9]), "two-bytes")
    array([7, 9], dtype=uint8)
    """
    data = unpack(data, name)
    if len(data) < 4:
        raise DataError(f"{name}: ends at byte {len(data)}, within the 4 bytes of its magic number")
    if data[0] or data[1]:
        raise DataError(f"{name}: not an IDX file: bytes 0-1 are {data[:2].hex()}, not 0000")
    if data[2] not in _DTYPES:
        raise DataError(f"{name}: byte 2 is {data[2]:#04x}, which is no IDX data type")
    rank = data[3]
    start = 4 + 4 * rank
    if rank == 0 or len(data) < start:
        raise DataError(
            f"{name}: byte 3 declares {rank} dimensions, but the file has {len(data)} bytes"
        )
    shape = tuple(int(n) for n in np.frombuffer(data, ">u4", rank, 4))
    dtype = _DTYPES[data[2]]
    declared = dtype.itemsize
    for n in shape:  # Python ints: a broken header must not overflow
        declared *= n
    if len(data) - start != declared:
        raise DataError(
            f"{name}: its header declares shape {shape} ({declared} bytes from byte {start} on), "
            f"but {len(data) - start} bytes are there"
        )
    try:
        array = np.frombuffer(data, dtype, offset=start).reshape(shape)
    except ValueError as error:  # more dimensions, or larger ones beside a 0, than numpy has
        raise DataError(
            f"{name}: bytes 3-{start - 1} declare an impossible shape: {error}"
        ) from error
    return array.astype(dtype.newbyteorder("="))  # a writable copy


def read_bytes(path: Path) -> bytes:
    """A whole file. Raises: DataError naming it."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error


def read_idx(source: str | Path | bytes, name: str | None = None) -> np.ndarray:
    """The array in an IDX file or in the bytes of one, raw or gzipped.

    Args:
        name: what errors call it; the path unless given.
    Raises: DataError naming the file and the byte that is wrong.
    """
    if isinstance(source, bytes):
        return parse_idx(source, name or "<bytes>")
    return parse_idx(read_bytes(Path(source)), name or str(source))


def encode_idx(array: np.ndarray) -> bytes:
    """A uint8 array as the bytes of an IDX file."""
    header = bytes([0, 0, 0x08, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return header + np.ascontiguousarray(array, np.uint8).tobytes()
