"""A cache of tensors that is limited in bytes."""

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
    """A context in which cached tensors are computed.

    torch.jit.trace does not record it, and it is outside inference mode, whose tensors cannot be
    used in training later.
    """
    with suspended_tracing(), torch.inference_mode(False):
        yield


class ByteCache:
    """Tensors by key, the most recently used ones, of ``limit`` bytes in total; thread-safe.

    Entries larger than that are not stored. ``limit`` may be set at any time.

    Args:
        limit: The most bytes to hold.

    Examples:
        >>> cache = ByteCache(limit=8)
        >>> for n in (0, 1, 0, 2, 0):
        ...     (zeros,) = cache.get(n, lambda: (torch.zeros(1), ))
        >>> cache.bytes, cache.keys()
        (8, (2, 0))
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        #: bytes in use
        self.bytes = 0
        self._entries: OrderedDict[Hashable, Entry] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable, make: Callable[[], Entry]) -> Entry:
        """The entry under ``key``; where there is none, the result of ``make``, which is stored."""
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
                return self._entries[key]
        with constants():
            entry = make()
        # neither traced stand-ins nor tensors without memory
        if all(type(t) is Tensor and not t.is_meta for t in entry):
            self._put(key, entry)
        return entry

    def keys(self) -> tuple[Hashable, ...]:
        """The keys of all entries, the most recently used one last."""
        with self._lock:
            return tuple(self._entries)

    def clear(self) -> None:
        """Drop all entries."""
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


#: bases of control points: one of 8x8 points on 512x512 pixels takes 64 MiB
BASES = ByteCache(limit=128 * 2**20)
