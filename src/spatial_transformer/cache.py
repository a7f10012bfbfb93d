"""Tensors that are kept to be used again, within a number of bytes."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from threading import Lock

import torch
from torch import Tensor

from spatial_transformer.ops.torch_internals import suspended_tracing

Entry = tuple[Tensor, ...]


@contextmanager
def constants() -> Iterator[None]:
    """A context for what is kept: torch.jit.trace does not record how it is made, nor is it of
    inference mode, whose tensors are of no use to later training."""
    with suspended_tracing(), torch.inference_mode(False):
        yield


class ByteCache:
    """Tensors by key, the newest of them, of ``limit`` bytes in all; for any number of threads.

    What is larger than that by itself is not kept. ``limit`` may be set at any time.

    >>> cache = ByteCache(limit=8)
    >>> for n in (0, 1, 0, 2, 0):
    ...     (zeros,) = cache.get(n, lambda: (torch.zeros(1), ))
    >>> cache.bytes, cache.keys()
    (8, (2, 0))
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        #: how many are taken
        self.bytes = 0
        self._entries: OrderedDict[Hashable, Entry] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable, make: Callable[[], Entry]) -> Entry:
        """What is kept under ``key``; if nothing is, what ``make`` gives, which is then."""
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
                return self._entries[key]
        with constants():
            entry = make()
        # neither what stands for tensors, where they are traced, nor what takes no memory
        if all(type(t) is Tensor and not t.is_meta for t in entry):
            self._put(key, entry)
        return entry

    def keys(self) -> tuple[Hashable, ...]:
        """Of what is kept, the newest last."""
        with self._lock:
            return tuple(self._entries)

    def clear(self) -> None:
        """Keep nothing of it."""
        with self._lock:
            self._entries.clear()
            self.bytes = 0

    def _put(self, key: Hashable, entry: Entry) -> None:
        with self._lock:
            if key in self._entries or _size(entry) > self.limit:  # another thread may have put it
                return
            self._entries[key] = entry
            self.bytes += _size(entry)
            while self.bytes > self.limit:
                _, oldest = self._entries.popitem(last=False)
                self.bytes -= _size(oldest)


def _size(entry: Entry) -> int:
    return sum(t.untyped_storage().nbytes() for t in entry)


#: of all transforms with control points: one of 8x8 points on 512x512 pixels takes 64 MiB
BASES = ByteCache(limit=128 * 2**20)
