"""The fused operators: one schema a warp, with fake kernels and autograd.

``stn::warp_matrix`` takes matrices (theta -> image, no grid), ``stn::sample_grid`` explicit grids.
Both return what ``samplers.eager`` returns; a double backward differentiates that instead.
``backend`` says whose kernels do it.
"""

from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch._C._profiler import _RecordFunctionFast
from torch.autograd import profiler as autograd_profiler

from spatial_transformer.coordinates import coordinate_dtype
from spatial_transformer.ops.cpu import run as cpu
from spatial_transformer.ops.layout import layout_of
from spatial_transformer.ops.triton import launch as triton
from spatial_transformer.samplers import as_kernel
from spatial_transformer.samplers.eager import sample_eager
from spatial_transformer.transforms.matrix import grid_from_matrix

#: by the name of the backend
KERNELS: dict[str, Any] = {"cpu": cpu, "triton": triton}

#: whether operators are only traced, to be replaced: then no kernels are needed
TRACED_ONLY: ContextVar[bool] = ContextVar("traced_only", default=False)

_LIBRARY = torch.library.Library("stn", "DEF")
_OPTIONS = "str kernel, str padding, Tensor? fill, bool align_corners, str backend"
_LIBRARY.define(f"warp_matrix(Tensor image, Tensor matrix, SymInt[] size, {_OPTIONS}) -> Tensor")
_LIBRARY.define(f"sample_grid(Tensor image, Tensor grid, {_OPTIONS}) -> Tensor")
_LIBRARY.define(
    f"warp_matrix_backward(Tensor grad, Tensor image, Tensor matrix, {_OPTIONS}, "
    "bool image_too, bool maps_too) -> (Tensor, Tensor)"
)
_LIBRARY.define(
    f"sample_grid_backward(Tensor grad, Tensor image, Tensor grid, {_OPTIONS}, "
    "bool image_too, bool maps_too) -> (Tensor, Tensor)"
)


def _warp(image: Tensor, matrix: Tensor, size: Any, *options: Any) -> Tensor:
    *rest, backend = options
    found: Tensor = KERNELS[backend].forward(image, matrix, tuple(size), *rest, grid=False)
    return found


def _sample(image: Tensor, grid: Tensor, *options: Any) -> Tensor:
    *rest, backend = options
    size = tuple(grid.shape[1:-1])
    found: Tensor = KERNELS[backend].forward(image, grid, size, *rest, grid=True)
    return found


def _gradients(grid: bool) -> Any:
    def run(
        grad: Tensor, image: Tensor, maps: Tensor, *options: Any
    ) -> tuple[Tensor | None, Tensor | None]:
        *rest, backend, image_too, maps_too = options
        found: tuple[Tensor | None, Tensor | None] = KERNELS[backend].backward(
            grad, image, maps, *rest, grid=grid, image_too=image_too, maps_too=maps_too
        )
        return found

    return run


def _all_tensors(run: Any) -> Any:
    """``run`` as an operator, which returns tensors: nothing is an empty one."""

    def call(grad: Tensor, image: Tensor, *rest: Any) -> tuple[Tensor, ...]:
        return tuple(image.new_empty(0) if g is None else g for g in run(grad, image, *rest))

    return call


for _name, _kernel in (
    ("warp_matrix", _warp),
    ("sample_grid", _sample),
    ("warp_matrix_backward", _all_tensors(_gradients(grid=False))),
    ("sample_grid_backward", _all_tensors(_gradients(grid=True))),
):
    for _device in ("CPU", "CUDA"):
        _LIBRARY.impl(_name, _kernel, _device)


def _fake(image: Tensor, maps: Tensor, size: Any) -> Tensor:
    shape = (max(image.shape[0], maps.shape[0]), image.shape[1], *size)
    return torch.empty(
        shape, dtype=image.dtype, device=image.device, memory_format=layout_of(image)
    )


@torch.library.register_fake("stn::warp_matrix", lib=_LIBRARY)
def _(image: Tensor, matrix: Tensor, size: list[int], *options: Any) -> Tensor:
    return _fake(image, matrix, size)


@torch.library.register_fake("stn::sample_grid", lib=_LIBRARY)
def _(image: Tensor, grid: Tensor, *options: Any) -> Tensor:
    return _fake(image, grid, grid.shape[1:-1])


def _fake_gradients(
    grad: Tensor, image: Tensor, maps: Tensor, *options: Any
) -> tuple[Tensor, Tensor]:
    image_too, maps_too = options[-2:]
    none = image.new_empty(0)
    to_image = torch.empty_like(image, memory_format=layout_of(image)) if image_too else none
    to_maps = torch.empty_like(maps, memory_format=torch.contiguous_format) if maps_too else none
    return to_image, to_maps


torch.library.register_fake("stn::warp_matrix_backward", _fake_gradients, lib=_LIBRARY)
torch.library.register_fake("stn::sample_grid_backward", _fake_gradients, lib=_LIBRARY)


def _eager(grid: bool, image: Tensor, maps: Tensor, size: Any, options: tuple[Any, ...]) -> Tensor:
    """The same warp in operations that can be differentiated twice."""
    kernel, padding, fill, align_corners = options
    if not grid:
        matrix = as_matrix(maps, image).to(coordinate_dtype(maps))
        maps = grid_from_matrix(matrix, tuple(size), align_corners)
    batch = max(len(image), len(maps))
    image, fill = _repeated(image, batch), None if fill is None else _repeated(fill, batch)
    return sample_eager(image, maps, as_kernel(kernel), padding, fill, align_corners)


def _repeated(each: Tensor, batch: int) -> Tensor:
    """What N maps of an image share, for each of them; a batch of 1 is left to expand."""
    if len(each) in (1, batch):
        return each
    return each.repeat_interleave(batch // len(each), dim=0)


def _profiled(name: str, run: Any) -> Any:
    """``run``, of which profilers are told the operator's name and inputs, at a fraction of what
    the way by the dispatcher costs.
    """
    event = f"stn::{name}"

    def call(*given: Any) -> Any:
        # the second is set where all threads are profiled
        if not (torch.autograd._profiler_enabled() or autograd_profiler._is_profiler_enabled):
            return run(*given)
        # profilers write lists down, and no tuples
        with _RecordFunctionFast(event, [list(i) if type(i) is tuple else i for i in given]):
            return run(*given)

    return call


def _gradient(grid: bool) -> Any:
    name = "sample_grid_backward" if grid else "warp_matrix_backward"
    operator = getattr(torch.ops.stn, name).default
    direct = _profiled(name, _gradients(grid))

    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        image, maps, fill = ctx.saved_tensors
        kernel, padding, align_corners, backend = ctx.options
        options = (kernel, padding, fill, align_corners)
        wanted = ctx.needs_input_grad[:2]
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            inputs = [t for t, w in zip((image, maps), wanted, strict=True) if w]
            out = _eager(grid, image, maps, grad.shape[2:], options)
            found = iter(torch.autograd.grad(out, inputs, grad, create_graph=True))
            to_image, to_maps = (next(found) if w else None for w in wanted)
        elif watched(grad, image, maps, *(() if fill is None else (fill,))):
            matrix = as_matrix(maps, image)
            to_image, to_maps = operator(grad, image, matrix, *options, backend, *wanted)
            to_image = to_image if wanted[0] else None
            to_maps = to_maps.reshape(maps.shape) if wanted[1] else None
        else:
            to_image, to_maps = direct(grad, image, maps, *options, backend, *wanted)
        return to_image, to_maps, *[None] * (len(ctx.needs_input_grad) - 2)

    return backward


def as_matrix(maps: Tensor, image: Tensor) -> Tensor:
    """The affine matrices of thetas ``(B, P)``; other maps are what they are."""
    if maps.dim() > 2:
        return maps
    dims = image.dim() - 2
    return maps.view(-1, dims, dims + 1)


def watched(*tensors: Tensor) -> bool:
    """Whether an operator has to be called as one, by way of torch's dispatcher, since somebody
    looks on: a compiler, a tracer, a mode, a transform of torch.func, forward-mode derivatives, or
    tensors of another kind (subclasses, batched, negated, sparse and whatever else has a dispatch
    key of its own). If not, calling the kernels at once is twice as fast as the way there, and
    profilers are told of it (:func:`_profiled`).
    """
    if (
        torch.compiler.is_compiling()
        or torch._C._dispatch_tls_local_include_set().raw_repr() not in _ALONE
        or torch._C._len_torch_function_stack() > 0
        or torch.autograd.forward_ad._current_level >= 0
    ):
        return True
    for tensor in tensors:
        if type(tensor) is not Tensor and type(tensor) is not torch.nn.Parameter:
            return True
        keys = torch._C._dispatch_keys(tensor).raw_repr()
        if keys not in _IN_MEMORY and keys not in _keys_on(tensor.device.type):
            return True
    return False


@cache
def _keys_on(device: str) -> tuple[int, ...]:
    """The dispatch keys of tensors in memory, with and without a history."""
    with torch.inference_mode(False):
        usual = torch.empty(0, device=device)
    with torch.inference_mode():
        inference = torch.empty(0, device=device)
    return tuple(torch._C._dispatch_keys(t).raw_repr() for t in (usual, inference))


def _keys_of_thread(inference: bool) -> int:
    """The keys that this thread adds to those of tensors."""
    with torch.inference_mode(inference):
        keys: int = torch._C._dispatch_tls_local_include_set().raw_repr()
    return keys


# in a thread of its own, which no mode, tracer or transform of who imports this reaches
with ThreadPoolExecutor(1) as _pool:
    _ALONE = tuple(_pool.map(_keys_of_thread, (False, True)))
    _IN_MEMORY = _pool.submit(_keys_on, "cpu").result()


def _differentiable(name: str, grid: bool, run: Any, alone: bool) -> Any:
    """``run`` with the operator's gradient. As torch.library.register_autograd, without what that
    spends on operators that are anything whatever. ``alone``: where nobody looks on.
    """

    def forward(ctx: Any, image: Tensor, maps: Tensor, *options: Any) -> Tensor:
        output: Tensor = run(image, maps, *options)
        *_, kernel, padding, fill, align_corners, backend = options
        ctx.options = kernel, padding, align_corners, backend
        ctx.save_for_backward(image, maps, fill)
        return output

    members = {"forward": staticmethod(forward), "backward": staticmethod(_gradient(grid))}
    function: Any = type(f"stn_{name}", (torch.autograd.Function,), members)
    # what Function.apply comes to where torch.func is not at work
    apply = super(torch.autograd.Function, function).apply if alone else function.apply

    def call(image: Tensor, maps: Tensor, *options: Any) -> Tensor:
        output: Tensor
        if torch.is_grad_enabled() and (image.requires_grad or maps.requires_grad):
            output = apply(image, maps, *options)
        else:
            output = run(image, maps, *options)
        return output

    return call


def _make_operator(name: str, grid: bool, implementation: Any) -> Any:
    """The operator as a function of what its schema names (and affine thetas for matrices): by way
    of the dispatcher or, if nobody looks on, without. And that without, for who has asked
    :func:`watched`.
    """
    operator = getattr(torch.ops.stn, name).default

    def below_autograd(image: Tensor, maps: Tensor, *options: Any) -> Tensor:
        with torch._C._AutoDispatchBelowAutograd():
            output: Tensor = operator(image, as_matrix(maps, image), *options)
        return output

    dispatched = _differentiable(name, grid, below_autograd, alone=False)
    direct = _profiled(name, _differentiable(name, grid, implementation, alone=True))
    _LIBRARY.impl(name, dispatched, "Autograd")

    def call(image: Tensor, maps: Tensor, *options: Any) -> Tensor:
        output: Tensor
        fill = options[-3]
        if watched(image, maps, *(() if fill is None else (fill,))):
            output = operator(image, as_matrix(maps, image), *options)
        else:
            output = direct(image, maps, *options)
        return output

    return call, direct


#: image, matrix (or affine theta), size, kernel, padding, fill, align_corners, backend -> the image
#: warped
warp_matrix, warp_matrix_unwatched = _make_operator("warp_matrix", False, _warp)
#: image, grid, kernel, padding, fill, align_corners, backend -> the image at the grid
sample_grid, _ = _make_operator("sample_grid", True, _sample)
