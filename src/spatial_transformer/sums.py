"""Sums whose bits do not depend on the number of threads.

torch distributes sums among its threads, and BLAS products, so that another number of them may give
other bits. Here the order of additions follows from shapes alone: one half is added to the other,
element by element, until one element remains.

This is for the CPU. On other devices, and under a compiler or a transform of ``torch.func``, these
are torch's own sums.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from spatial_transformer.coordinates import full_precision
from spatial_transformer.ops.torch_internals import in_forward_mode, in_functorch

#: elements of a product computed at a time, which fit into a core's cache
BLOCK = 2**18

#: from this many elements on torch splits work among its threads (its GRAIN_SIZE)
SERIAL = 2**15


def total(x: Tensor, dim: int) -> Tensor:
    """``x.sum(dim)``."""
    return _apply(_Total, x, dim) if is_plain(x) else x.sum(dim)


def mean(x: Tensor, dim: int) -> Tensor:
    """``x.mean(dim)``."""
    return total(x, dim) / x.shape[dim]


def spread(x: Tensor, shape: Sequence[int]) -> Tensor:
    """``x.expand(shape)``, whose gradient is a ``total``."""
    # shapes are compared last: that would specialise traced symbols
    if not is_plain(x) or not x.requires_grad or x.shape == shape:
        return x.expand(shape)
    return _apply(_Spread, x, shape)


def broadcast(*tensors: Tensor) -> tuple[Tensor, ...]:
    """``torch.broadcast_tensors(*tensors)``, whose gradients are totals."""
    shape = torch.broadcast_tensors(*tensors)[0].shape
    return tuple(spread(t, shape) for t in tensors)


def product(a: Tensor, b: Tensor) -> Tensor:
    """``a @ b`` of ``(..., D, K)`` and ``(..., K, M)``, without autocast."""
    if not is_plain(a) or not is_plain(b):
        with full_precision(a.device):
            return a @ b
    if b.dim() == 2:
        rows = _apply(_Product, a.flatten(0, -2), b)
        return rows.view(*a.shape[:-1], b.shape[-1])
    lead = b.shape[:-2] if a.dim() == 2 else torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a, b = (spread(t, (*lead, *t.shape[-2:])) for t in (a, b))
    return _apply(_Product, a, b)


def is_plain(x: Tensor) -> bool:
    """Whether a tensor is on the CPU and nothing but autograd (backward) is active."""
    return (
        x.device.type == "cpu"
        and type(x) in (Tensor, torch.nn.Parameter)
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
        and not in_functorch()
        and not in_forward_mode()
    )


def _halve(x: Tensor, dim: int) -> Tensor:
    """The sum over an axis, one half added to the other until few elements remain."""
    odd = None
    while (n := x.shape[dim]) > 1 and x.numel() >= SERIAL:
        half = n // 2
        if n % 2:
            last = x.select(dim, n - 1)
            odd = last if odd is None else odd + last
        x = x.narrow(dim, 0, half) + x.narrow(dim, half, half)
    added = x.select(dim, 0) if x.shape[dim] == 1 else x.sum(dim)
    return added if odd is None else added + odd


def _multiply(a: Tensor, b: Tensor) -> Tensor:
    """``a @ b``, in blocks of terms that fit into the cache."""
    (*lead, rows, inner), columns = a.shape, b.shape[-1]
    outer = max(1, math.prod(lead) * rows)
    if inner > columns:  # summands are contiguous
        b = b.transpose(-1, -2).contiguous().unsqueeze(-3)
        step = max(1, BLOCK // (outer * max(1, columns)))
        return _add_up(zip(_cut(a.unsqueeze(-2), step, -1), _cut(b, step, -1), strict=True), -1)
    width = min(max(1, columns), max(256, BLOCK // outer))
    step = max(1, BLOCK // (outer * width))
    left = _cut(a.unsqueeze(-1), step, -2)
    parts = [
        _add_up(zip(left, _cut(part, step, -2), strict=True), -2)
        for part in _cut(b.unsqueeze(-3), width, -1)
    ]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)


def _cut(x: Tensor, step: int, dim: int) -> Sequence[Tensor]:
    return x.split(step, dim) if x.shape[dim] > step else (x,)


def _add_up(factors: Iterable[tuple[Tensor, Tensor]], dim: int) -> Tensor:
    """The sum over an axis of products, in their order."""
    added = None
    for a, b in factors:
        block = _halve(a * b, dim)
        added = block if added is None else added.add_(block)
    assert added is not None
    return added


def _apply(function: Any, *args: Any) -> Tensor:
    result: Tensor = function.apply(*args)
    return result


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: int) -> Tensor:
        ctx.shape, ctx.dim = x.shape, dim
        return _halve(x, dim)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return spread(grad.unsqueeze(ctx.dim), ctx.shape), None


class _Spread(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, shape: tuple[int, ...]) -> Tensor:
        ctx.shape = x.shape
        return x.expand(shape)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        for _ in range(grad.dim() - len(ctx.shape)):
            grad = total(grad, 0)
        for dim, n in enumerate(ctx.shape):
            if n != grad.shape[dim]:
                grad = total(grad, dim).unsqueeze(dim)
        return grad, None


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(a, b)
        return _multiply(a, b)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        a, b = ctx.saved_tensors
        to_a, to_b = ctx.needs_input_grad
        return (
            product(grad, b.transpose(-1, -2)) if to_a else None,
            product(a.transpose(-1, -2), grad) if to_b else None,
        )
