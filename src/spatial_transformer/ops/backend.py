"""Which backend does the work of a call."""

import warnings
from functools import cache

import torch
from torch import Tensor

from spatial_transformer.coordinates import in_functorch
from spatial_transformer.errors import BackendError, OptionError
from spatial_transformer.ops import ops
from spatial_transformer.samplers.bicubic import KEYS_A, Bicubic
from spatial_transformer.samplers.bilinear import Bilinear
from spatial_transformer.samplers.kernel import Kernel
from spatial_transformer.samplers.nearest import Nearest

BACKENDS = ("auto", "eager", "cpu", "triton", "reference")


class EagerWarning(UserWarning):
    """The fused kernels are not there, so ``backend="auto"`` runs plain torch operations."""


def backend_status() -> dict[str, tuple[bool, str]]:
    """Of every backend but auto, whether it is available and why (not)."""
    return {
        **{name: kernels.available() for name, kernels in ops.KERNELS.items()},
        "eager": (True, "plain torch operations, everywhere"),
        "reference": (True, "float64 oracle, slow, for tests"),
    }


def resolve_backend(backend: str, image: Tensor, kernel: Kernel, fill: Tensor | None) -> str:
    """The backend that does the work, not auto; ``backend`` is checked already.

    Raises: BackendError where a named one lacks what is asked of it.
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
    lacking = _lacking(use, image, kernel, fill)
    if lacking is None:
        available, why = ops.KERNELS[use].available()
        if available or ops.TRACED_ONLY.get():
            return use
        _warn_once(why)
    elif backend != "auto":
        raise BackendError(f"backend={backend!r} has no {lacking}: use 'auto' or 'eager'")
    return "eager"


def _lacking(use: str, image: Tensor, kernel: Kernel, fill: Tensor | None) -> str | None:
    """What the fused kernels have not of a call."""
    # a subclass may weigh otherwise than its base
    if type(kernel) not in (Nearest, Bilinear, Bicubic):
        return f"kernel {type(kernel).__name__}"
    if isinstance(kernel, Bicubic) and kernel.a != KEYS_A:
        return f"bicubic kernel of an a other than {KEYS_A}"
    if fill is not None and fill.requires_grad:
        return "a gradient to fill"
    if in_function_transform():
        return "torch.func transforms and forward-mode derivatives"
    lacking: str | None = ops.KERNELS[use].lacking(image, kernel.name)
    return lacking


def check_backend(backend: str) -> None:
    """Raises: OptionError for an unknown name, BackendError saying why one is not available."""
    if backend not in BACKENDS:
        raise OptionError(f"unknown backend {backend!r}. Known: {', '.join(BACKENDS)}")
    if backend != "auto":
        available, why = backend_status()[backend]
        if not available:
            raise BackendError(f"backend={backend!r} is not available: {why}")


@cache
def _warn_once(why: str) -> None:
    warnings.warn(f"running eager: {why}", EagerWarning, stacklevel=4)


def in_function_transform() -> bool:
    """Whether vmap, jvp or their like are at work, which operators in C++ know nothing of."""
    return in_functorch() or torch.autograd.forward_ad._current_level >= 0
