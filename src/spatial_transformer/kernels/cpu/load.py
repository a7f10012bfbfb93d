"""The C++ library, found next to this file and spoken to through ctypes."""

import ctypes
from collections.abc import Callable
from functools import cache
from pathlib import Path

#: of the C interface; a stale build is refused rather than called
ABI = 1


class Plan(ctypes.Structure):
    """All of a call but its tensors; mirrors the struct in warp.cpp."""

    _fields_ = (
        *((n, ctypes.c_int64) for n in ("images", "maps", "batch")),
        *((n, ctypes.c_int64) for n in ("channels", "height", "width", "out_height", "out_width")),
        *((n, ctypes.c_int32) for n in ("kernel", "padding", "align_corners", "fills", "threads")),
    )


def _load() -> tuple[ctypes.CDLL | None, str]:
    found = sorted(Path(__file__).parent.glob("_warp*.so"))
    if not found:
        return None, (
            "the C++ kernels were not built; install a C++ compiler with OpenMP and reinstall "
            "(pip install --force-reinstall --no-deps spatial-transformer)"
        )
    try:
        lib = ctypes.CDLL(str(found[0]))
        abi = lib.stn_abi()
    except (OSError, AttributeError) as error:
        return None, f"the C++ kernels could not be loaded: {error}"
    if abi != ABI:
        return None, f"the C++ kernels are of interface {abi}, this version needs {ABI}: reinstall"
    return lib, f"C++ kernels, {found[0].name}"


#: the library, or None, and why; looked for once, at import
LIBRARY, WHY = _load()


@cache
def function(name: str, pointers: int) -> Callable[..., None]:
    """A C function of a plan, the grid flag, and so many pointers."""
    found = getattr(LIBRARY, name)
    found.argtypes = [ctypes.POINTER(Plan), ctypes.c_int, *[ctypes.c_void_p] * pointers]
    found.restype = None
    return found  # type: ignore[no-any-return]
