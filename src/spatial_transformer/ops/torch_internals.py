"""Every private name of torch that the library uses, each with a public fallback.

Where a newer torch no longer has a name, the fallback is used. It gives the same results, more
slowly; ``MISSING`` lists the missing names, and ``stn doctor`` shows it.
"""

import platform
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.autograd import profiler as autograd_profiler

F = TypeVar("F", bound=Callable[..., Any])

#: private names that this torch does not have
MISSING: list[str] = []


def _find(name: str) -> Any:
    value: Any = torch
    for part in name.split("."):
        value = getattr(value, part, None)
    if value is None:
        MISSING.append(f"torch.{name}")
    return value


_functorch_stack = _find("_C._functorch.peek_interpreter_stack")
_is_batched = _find("_C._functorch.is_batchedtensor")
_thread_keys = _find("_C._dispatch_tls_local_include_set")
_tensor_keys = _find("_C._dispatch_keys")
_function_modes = _find("_C._len_torch_function_stack")
_forward_level = _find("autograd.forward_ad._current_level")
_record_function = _find("_C._profiler._RecordFunctionFast")
_profiler_enabled = _find("autograd._profiler_enabled")
_all_threads_profiled = _find("autograd.profiler._is_profiler_enabled")
_tracing_state = _find("_C._get_tracing_state")
_set_tracing_state = _find("_C._set_tracing_state")
_onednn_bfloat16 = _find("ops.mkldnn._is_mkldnn_bf16_supported")
_avx512_bfloat16 = _find("cpu._is_avx512_bf16_supported")
_amx = _find("cpu._is_amx_tile_supported")
#: a context below autograd's dispatch keys; None if missing: then operators get their gradient from
#: ``torch.library.register_autograd``
below_autograd: type[AbstractContextManager[None]] | None = _find("_C._AutoDispatchBelowAutograd")


def constant_result(function: F) -> F:
    """Let torch.compile call ``function`` while it traces, and treat the result as a constant.

    Like ``torch.compiler.assume_constant_result``, which imports the compiler (about a second).
    """
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


@constant_result
def in_functorch() -> bool:
    """Whether a transform of ``torch.func`` (vmap, grad, ...) is active.

    Fallback: always True, so that plain operations are used throughout.
    """
    return _functorch_stack is None or _functorch_stack() is not None


def in_function_transform() -> bool:
    """Whether vmap, jvp or another transform is active, which C++ operators do not support."""
    return in_functorch() or in_forward_mode()


def in_forward_mode() -> bool:
    """Whether a level of forward-mode differentiation is active. Fallback: True."""
    return _forward_level is None or forward_ad._current_level >= 0


def is_batched(tensor: Tensor) -> bool:
    """Whether ``vmap`` maps over a tensor."""
    return in_functorch() if _is_batched is None else bool(_is_batched(tensor))


def is_profiled() -> bool:
    """Whether a profiler of this thread, or of all threads, is active. Fallback: True."""
    if _profiler_enabled is None or _all_threads_profiled is None:
        return True
    return bool(_profiler_enabled() or autograd_profiler._is_profiler_enabled)


def record_event(name: str, inputs: Sequence[object]) -> AbstractContextManager[object]:
    """An event for profilers, with the shapes and values of its inputs. Fallback: no inputs."""
    if _record_function is None:
        return torch.profiler.record_function(name)
    # profilers record lists, but not tuples
    event: AbstractContextManager[object] = _record_function(
        name, [list(i) if type(i) is tuple else i for i in inputs]
    )
    return event


@contextmanager
def suspended_tracing() -> Iterator[None]:
    """A context that torch.jit.trace does not record. Fallback: it is recorded."""
    if _tracing_state is None or _set_tracing_state is None or (state := _tracing_state()) is None:
        yield
        return
    _set_tracing_state(None)
    try:
        yield
    finally:
        _set_tracing_state(state)


def has_native_bfloat16_cpu() -> bool:
    """Whether the processor multiplies bfloat16 natively and oneDNN uses it. Fallback: False.

    These are AVX512-BF16, AMX and Arm's bfloat16 instructions.
    """
    # oneDNN's instruction set may be restricted by the environment
    if _onednn_bfloat16 is None or not _onednn_bfloat16():
        return False
    if platform.machine().lower() in ("aarch64", "arm64"):
        return True
    return any(supported is not None and supported() for supported in (_avx512_bfloat16, _amx))


def needs_dispatcher(*tensors: Tensor) -> bool:
    """Whether an operator must be called through torch's dispatcher.

    That is under a compiler, a tracer, a mode, a transform of torch.func or forward-mode
    differentiation, or for tensors with a dispatch key of their own (subclasses, batched, negated,
    sparse, ...). Otherwise the backend is called directly, in half the time. Fallback: True.
    """
    if (
        _CAN_BYPASS is False
        or torch.compiler.is_compiling()
        or _thread_keys().raw_repr() not in _PLAIN_THREAD
        or _function_modes() > 0
        or forward_ad._current_level >= 0
    ):
        return True
    for tensor in tensors:
        if type(tensor) is not Tensor and type(tensor) is not torch.nn.Parameter:
            return True
        keys = _tensor_keys(tensor).raw_repr()
        if keys not in _PLAIN_CPU and keys not in _plain_keys(tensor.device.type):
            return True
    return False


@cache
def _plain_keys(device: str) -> tuple[int, ...]:
    """The dispatch keys of ordinary tensors, with and without a history."""
    with torch.inference_mode(False):
        usual = torch.empty(0, device=device)
    with torch.inference_mode():
        inference = torch.empty(0, device=device)
    return tuple(_tensor_keys(t).raw_repr() for t in (usual, inference))


def _keys_of_thread(inference: bool) -> int:
    """The keys that a thread adds to those of tensors."""
    with torch.inference_mode(inference):
        keys: int = _thread_keys().raw_repr()
    return keys


_CAN_BYPASS = None not in (_thread_keys, _tensor_keys, _function_modes, _forward_level)
if _CAN_BYPASS:
    # in a thread of its own, unaffected by modes, tracers and transforms of the importing one
    with ThreadPoolExecutor(1) as _pool:
        _PLAIN_THREAD = tuple(_pool.map(_keys_of_thread, (False, True)))
        _PLAIN_CPU = _pool.submit(_plain_keys, "cpu").result()
