"""The backends that do the work of a call, and the choice between them."""

import warnings
from collections.abc import Callable
from contextvars import ContextVar
from functools import cache
from typing import Protocol

import torch
from torch import Tensor

from spatial_transformer.errors import BackendError, OptionError
from spatial_transformer.ops.cpu import launch as cpu
from spatial_transformer.ops.torch_internals import in_function_transform
from spatial_transformer.ops.triton import launch as triton
from spatial_transformer.samplers.bicubic import KEYS_A, Bicubic
from spatial_transformer.samplers.bilinear import Bilinear
from spatial_transformer.samplers.kernel import Kernel
from spatial_transformer.samplers.nearest import Nearest

#: (image, maps, fill) -> the output: a checked call of a backend
Launcher = Callable[[Tensor, Tensor, Tensor | None], Tensor]


class Backend(Protocol):
    """Fused operators for some devices: ``ops/cpu/launch.py`` and ``ops/triton/launch.py``.

    ``maps`` are matrices ``(B, d, d + 1)``, as thetas ``(B, d * (d + 1))`` or, in 2-D,
    ``(B, 3, 3)``; with ``grid``, grids ``(B, *size, d)``. Where there are fewer images, maps or
    fill values ``(F, C, 1)`` than outputs, consecutive outputs share one.
    """

    def available(self) -> tuple[bool, str]:
        """Whether it can run here, and why (not)."""

    def unsupported_reason(self, image: Tensor, kernel: str) -> str | None:
        """What of a call it does not have, or None."""

    def bind(
        self,
        image: Tensor,
        maps: Tensor,
        size: tuple[int, ...],
        kernel: str,
        padding: str,
        fill: Tensor | None,
        align_corners: bool,
        *,
        grid: bool,
    ) -> Launcher:
        """The forward call on these tensors, and on others of the same shapes, strides and dtypes.
        Its output is laid out as the image is. Raises: ShapeError."""

    def backward(
        self,
        grad: Tensor,
        image: Tensor,
        maps: Tensor,
        kernel: str,
        padding: str,
        fill: Tensor | None,
        align_corners: bool,
        *,
        grid: bool,
        needs_image_grad: bool,
        needs_map_grad: bool,
    ) -> tuple[Tensor | None, Tensor | None]:
        """The gradients to the image and to the maps, None where not needed; ``grad`` is the
        output's."""


#: the fused backends by name
BACKENDS: dict[str, Backend] = {"cpu": cpu, "triton": triton}

#: what ``backend=`` may be
NAMES = ("auto", "eager", *BACKENDS, "reference")

#: whether operators are only traced, to be replaced: then no backend has to be available
TRACED_ONLY: ContextVar[bool] = ContextVar("traced_only", default=False)


class EagerWarning(UserWarning):
    """No fused backend is available, so ``backend="auto"`` runs plain torch operations."""


def backend_status() -> dict[str, tuple[bool, str]]:
    """Of every backend but auto, whether it is available and why (not)."""
    return {
        **{name: backend.available() for name, backend in BACKENDS.items()},
        "eager": (True, "plain torch operations, everywhere"),
        "reference": (True, "float64 oracle, slow, for tests"),
    }


def resolve_backend(backend: str, image: Tensor, kernel: Kernel, fill: Tensor | None) -> str:
    """The backend that does the work, not auto; ``backend`` is checked already.

    Raises: BackendError where a named one does not have what is asked of it.
    """
    if backend == "reference" and fill is not None and fill.requires_grad:
        raise BackendError("backend='reference' has no gradient to fill: use 'auto' or 'eager'")
    if backend == "reference" and in_function_transform():
        raise BackendError(
            "backend='reference' has no torch.func transforms: use 'auto' or 'eager'"
        )
    if backend in ("eager", "reference"):
        return backend
    if backend == "auto" and torch.jit.is_tracing():
        return "eager"  # what is traced is loaded by processes that do not have our operators
    use = ("triton" if image.is_cuda else "cpu") if backend == "auto" else backend
    reason = _unsupported_reason(use, image, kernel, fill)
    if reason is None:
        available, why = BACKENDS[use].available()
        if available or TRACED_ONLY.get():
            return use
        _warn_once(why)
    elif backend != "auto":
        raise BackendError(f"backend={backend!r} has no {reason}: use 'auto' or 'eager'")
    return "eager"


def _unsupported_reason(use: str, image: Tensor, kernel: Kernel, fill: Tensor | None) -> str | None:
    """What of a call the fused backends do not have, or None."""
    # a subclass may weigh otherwise than its base
    if type(kernel) not in (Nearest, Bilinear, Bicubic):
        return f"kernel {type(kernel).__name__}"
    if isinstance(kernel, Bicubic) and kernel.a != KEYS_A:
        return f"bicubic kernel of an a other than {KEYS_A}"
    if fill is not None and fill.requires_grad:
        return "a gradient to fill"
    if in_function_transform():
        return "torch.func transforms and forward-mode derivatives"
    return BACKENDS[use].unsupported_reason(image, kernel.name)


def check_backend(backend: str) -> None:
    """Raises: OptionError for an unknown name, BackendError saying why one is not available."""
    if backend not in NAMES:
        raise OptionError(f"unknown backend {backend!r}. Known: {', '.join(NAMES)}")
    if backend != "auto":
        available, why = backend_status()[backend]
        if not available:
            raise BackendError(f"backend={backend!r} is not available: {why}")


@cache
def _warn_once(why: str) -> None:
    warnings.warn(f"running eager: {why}", EagerWarning, stacklevel=4)
