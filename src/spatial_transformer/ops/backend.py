"""The backends that run a call, and the choice between them."""

import warnings
from collections.abc import Callable
from contextvars import ContextVar
from functools import cache
from typing import Protocol, get_args

import torch
from torch import Tensor

from spatial_transformer.errors import BackendError, OptionError
from spatial_transformer.names import BackendName
from spatial_transformer.ops.cpu import launch as cpu
from spatial_transformer.ops.torch_internals import in_function_transform
from spatial_transformer.ops.triton import launch as triton
from spatial_transformer.registry import unknown
from spatial_transformer.samplers.bicubic import KEYS_A, Bicubic
from spatial_transformer.samplers.bilinear import Bilinear
from spatial_transformer.samplers.kernel import Kernel
from spatial_transformer.samplers.nearest import Nearest

#: (image, maps, fill) -> the output: a checked call of a backend
Launcher = Callable[[Tensor, Tensor, Tensor | None], Tensor]


class Backend(Protocol):
    """Fused operators for some devices: ``ops/cpu/launch.py`` and ``ops/triton/launch.py``.

    ``maps`` are matrices ``(B, d, d + 1)``, the same as thetas ``(B, d * (d + 1))`` or, in 2-D,
    ``(B, 3, 3)``; with ``grid=True`` they are grids ``(B, *size, d)``. Where there are fewer
    images, maps or fill values ``(F, C, 1)`` than outputs, consecutive outputs share one.
    """

    def available(self) -> tuple[bool, str]:
        """Whether the backend can run here, and the reason."""

    def unsupported_reason(self, image: Tensor, kernel: str) -> str | None:
        """What the backend does not support about a call, or None."""

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
        """The forward call for these tensors and for others of the same shapes, strides and dtypes.

        The output has the image's memory format.

        Raises:
            ShapeError: If the shapes of image, maps and fill do not fit together.
        """

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
        """The gradients to the image and to the maps; None for one that is not needed.

        Args:
            grad: The output's gradient ``(B, C, *size)``.
            image: ``(B, C, *spatial)``.
            maps: Matrices or grids, as described in the class.
            kernel: The interpolation kernel's name.
            padding: The padding's name.
            fill: Fill values ``(F, C, 1)`` or None.
            align_corners: Whether -1 and 1 are the corner pixels' centres.
            grid: Whether ``maps`` are grids.
            needs_image_grad: Whether the gradient to the image is wanted.
            needs_map_grad: Whether the gradient to the maps is wanted.
        """


#: the fused backends by name
BACKENDS: dict[str, Backend] = {"cpu": cpu, "triton": triton}

#: the values of ``backend=``
NAMES: tuple[BackendName, ...] = get_args(BackendName)

#: whether operators are traced to be replaced: then no backend needs to be available
TRACED_ONLY: ContextVar[bool] = ContextVar("traced_only", default=False)


class EagerWarning(UserWarning):
    """No fused backend is available, so ``backend="auto"`` runs plain torch operations."""


def backend_status() -> dict[str, tuple[bool, str]]:
    """Every backend but auto, with whether it is available and the reason."""
    return {
        **{name: backend.available() for name, backend in BACKENDS.items()},
        "eager": (True, "plain torch operations, everywhere"),
        "reference": (True, "float64 oracle, slow, for tests"),
    }


def resolve_backend(backend: str, image: Tensor, kernel: Kernel, fill: Tensor | None) -> str:
    """The backend that runs a call, never auto.

    Args:
        backend: A backend name that has been checked.
        image: ``(B, C, *spatial)``.
        kernel: The interpolation kernel.
        fill: Fill values ``(1 or B, C, 1)`` or None.

    Raises:
        BackendError: If the named backend does not support the call.
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
        return "eager"  # traced graphs are loaded by processes without our operators
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
    """What the fused backends do not support about a call, or None."""
    # a subclass may have other weights than its base
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
    """Check a backend's name and that it is available.

    Raises:
        OptionError: If the name is unknown.
        BackendError: If the backend is not available here; the message says why.
    """
    if backend not in NAMES:
        raise OptionError(unknown("backend", backend, NAMES))
    if backend != "auto":
        available, why = backend_status()[backend]
        if not available:
            raise BackendError(f"backend={backend!r} is not available: {why}")


@cache
def _warn_once(why: str) -> None:
    warnings.warn(f"running eager: {why}", EagerWarning, stacklevel=4)
