"""The memory that a training step frees."""

import ctypes
from functools import cache

#: options of glibc's mallopt: how much free memory is given back, and from what size on blocks are
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3


@cache
def keep_freed_memory() -> bool:
    """Have the C library keep freed memory for the next step, in this process from now on.

    glibc returns the memory of large tensors to the system at every step, which clears each page
    before it hands it out again. With this the process holds the most it ever needed, no more.

    Returns:
        Whether the C library is glibc; nothing is changed where it is not.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # macOS, musl; Windows
        return False
    # some releases take no more than 32 MiB for the first
    accepted = mallopt(MMAP_THRESHOLD, 2**31 - 1) or mallopt(MMAP_THRESHOLD, 2**25)
    return bool(accepted and mallopt(TRIM_THRESHOLD, 2**31 - 1))
