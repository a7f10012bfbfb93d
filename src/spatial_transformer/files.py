"""Atomic writes and bounded reads of files.

Files are written aside, then renamed; of untrusted files no more is read than expected.
"""

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

#: bytes read at a time
PIECE = 2**20
#: most bytes of a JSON file, which takes some thirty times as much memory when parsed
MOST_JSON = 4 * 2**20


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file in ``path``'s folder, then rename it to ``path``.

    If ``write`` fails, nothing is left behind and an older ``path`` is unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.tmp", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        mask = os.umask(0)  # mkstemp's files are for their owner alone; a plain file's are not
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def pieces(file: IO[bytes], most: int) -> Iterator[bytes]:
    """The next bytes of a file, chunk by chunk, until its end or ``most`` bytes."""
    while most and (piece := file.read(min(PIECE, most))):
        yield piece
        most -= len(piece)


def read_at_most(file: IO[bytes], most: int) -> bytes:
    """The next bytes of a file, at most ``most``, whatever size it claims."""
    return b"".join(pieces(file, most))


def read_json(path: Path) -> Any:
    """The contents of a JSON file.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is not JSON, is larger than 4 MiB, or is nested too deeply.
    """
    with path.open("rb") as file:
        data = read_at_most(file, MOST_JSON + 1)
    if len(data) > MOST_JSON:
        raise ValueError(f"it has more than {MOST_JSON} bytes")
    try:
        return json.loads(data)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
