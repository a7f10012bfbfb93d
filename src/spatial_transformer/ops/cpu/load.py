"""The C++ library: found next to this file and called through ctypes."""

import ctypes
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

from spatial_transformer.errors import OptionError

#: version of the C interface; a stale build is refused rather than called
ABI = 5

#: the instruction sets that a library may be built for, the lowest first
SETS = ("baseline", "avx2", "avx512")

#: environment variable with the highest one to use, as ATEN_CPU_CAPABILITY for torch's own
CAPABILITY = "STN_CPU_CAPABILITY"


class Plan(ctypes.Structure):
    """Everything about a call except its tensors; mirrors the struct in plan.h."""

    _fields_ = tuple(
        (name, ctypes.c_int64 * 3 if name.endswith("size") else ctypes.c_int64)
        for name in (
            *("grid", "projective", "images", "maps", "fills", "batch", "channels", "dims"),
            *("size", "out_size", "kernel", "padding", "align_corners"),
            *("storage", "item", "channels_last", "single", "threads", "level"),
        )
    )


def _load() -> tuple[ctypes.CDLL | None, str]:
    path = Path(__file__).parent / "_warp.so"
    if not path.is_file():
        return None, (
            "the C++ backend was not built; install a C++ compiler with OpenMP and reinstall "
            "(pip install --force-reinstall --no-deps . in a clone of the repository)"
        )
    try:
        library = ctypes.CDLL(str(path))
        abi = library.stn_abi()
    except (OSError, AttributeError) as error:
        return None, f"the C++ backend could not be loaded: {error}"
    if abi != ABI:
        return None, f"the C++ backend is of interface {abi}, this version needs {ABI}: reinstall"
    level = min(library.stn_level(), highest_set())
    held = f", held by {CAPABILITY}" if level < library.stn_level() else ""
    gathers = ", gathering" if level == 2 and library.stn_gathers() else ""
    return library, f"C++ backend, {path.name} ({SETS[level]}{held}{gathers})"


def highest_set() -> int:
    """The highest instruction set that may be used, as an index into ``SETS``.

    All of them, unless the environment variable ``STN_CPU_CAPABILITY`` names a lower one.

    Raises:
        OptionError: If the environment variable names no instruction set.
    """
    name = os.environ.get(CAPABILITY, SETS[-1])
    if name not in SETS:
        raise OptionError(f"{CAPABILITY} must be one of {', '.join(SETS)}, got {name!r}")
    return SETS.index(name)


#: the library or None, and the reason; loaded once, at import
LIBRARY, WHY = _load()


#: what a function's status other than 0 means
OUT_OF_MEMORY = "the C++ backend ran out of memory"


@cache
def function(name: str, pointers: int) -> Callable[..., int]:
    """A C function of a plan and ``pointers`` pointers; it returns a status."""
    entry: Callable[..., int] = getattr(LIBRARY, name)
    entry.argtypes = [ctypes.POINTER(Plan), *[ctypes.c_void_p] * pointers]  # type: ignore[attr-defined]
    entry.restype = ctypes.c_int  # type: ignore[attr-defined]
    return entry
