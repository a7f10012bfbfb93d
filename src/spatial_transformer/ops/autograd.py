"""The fused operators with their gradients, through torch's dispatcher or past it.

A double backward differentiates the same warp in plain operations instead.
"""

from typing import Any

import torch
from torch import Tensor

from spatial_transformer.coordinates import coordinate_dtype
from spatial_transformer.ops import schema, torch_internals
from spatial_transformer.ops.backend import Launcher
from spatial_transformer.ops.torch_internals import is_profiled, needs_dispatcher, record_event
from spatial_transformer.samplers import as_kernel
from spatial_transformer.samplers.eager import sample_eager
from spatial_transformer.transforms.matrix import grid_from_matrix


def as_matrix(maps: Tensor, image: Tensor) -> Tensor:
    """Affine thetas ``(B, P)`` as matrices ``(B, d, d + 1)``; other maps unchanged."""
    if maps.dim() > 2:
        return maps
    dims = image.dim() - 2
    return maps.view(-1, dims, dims + 1)


def _eager(grid: bool, image: Tensor, maps: Tensor, size: Any, options: tuple[Any, ...]) -> Tensor:
    """The same warp in plain operations, which can be differentiated twice."""
    kernel, padding, fill, align_corners = options
    if not grid:
        matrix = as_matrix(maps, image).to(coordinate_dtype(maps))
        maps = grid_from_matrix(matrix, tuple(size), align_corners)
    batch = max(len(image), len(maps))
    image, fill = _repeated(image, batch), None if fill is None else _repeated(fill, batch)
    return sample_eager(image, maps, as_kernel(kernel), padding, fill, align_corners)


def _repeated(tensor: Tensor, batch: int) -> Tensor:
    """Repeat a tensor once for each output that shares it; a batch of 1 is left to broadcast."""
    if len(tensor) in (1, batch):
        return tensor
    return tensor.repeat_interleave(batch // len(tensor), dim=0)


def _redispatch(operator: Any, grid: bool, options: tuple[Any, ...]) -> Launcher:
    """A call of the operator below autograd."""

    def launch(image: Tensor, maps: Tensor, fill: Tensor | None) -> Tensor:
        assert torch_internals.below_autograd is not None
        *size, kernel, padding, _, align_corners, backend = options
        with torch_internals.below_autograd():
            output: Tensor = operator(
                image, maps, *size, kernel, padding, fill, align_corners, backend
            )
        return output

    return launch


class FusedOperator:
    """A fused operator together with its gradient.

    Called with the arguments of its schema (affine thetas may stand for matrices), it goes through
    torch's dispatcher only where that is needed.
    """

    def __init__(self, name: str, *, grid: bool) -> None:
        self.grid = grid
        self.event = f"stn::{name}"
        self._operator = getattr(torch.ops.stn, name).default
        function = _make_function(name, grid)
        # Function.apply without its checks for torch.func
        self._apply: Any = super(torch.autograd.Function, function).apply  # type: ignore[misc]
        operator = self._operator

        def differentiable(image: Tensor, maps: Tensor, *options: Any) -> Tensor:
            launch = _redispatch(operator, grid, options)
            if torch.is_grad_enabled() and (image.requires_grad or maps.requires_grad):
                output: Tensor = function.apply(launch, image, maps, *options)
                return output
            return launch(image, maps, options[-3])

        if torch_internals.below_autograd is None:
            torch.library.register_autograd(
                self.event, function.gradient, setup_context=function.setup, lib=schema.LIBRARY
            )
        else:
            schema.LIBRARY.impl(name, differentiable, "Autograd")

    def __call__(self, image: Tensor, maps: Tensor, *options: Any) -> Tensor:
        """Run the operator; ``options`` are those of its schema, in order."""
        fill = options[-3]
        if needs_dispatcher(image, maps, *(() if fill is None else (fill,))):
            output: Tensor = self._operator(image, as_matrix(maps, image), *options)
            return output
        return self.direct(self.bind(image, maps, options), image, maps, *options)

    def bind(self, image: Tensor, maps: Tensor, options: tuple[Any, ...]) -> Launcher:
        """The backend's forward call for these arguments, to be passed to ``direct``."""
        size = maps.shape[1:-1] if self.grid else options[0]
        return schema.bind(image, maps, size, options[-5:], self.grid)

    def direct(self, launch: Launcher, image: Tensor, maps: Tensor, *options: Any) -> Tensor:
        """Call the operator without the dispatcher, for callers that know it is not needed.

        Profilers still see the operator's name and inputs, at a fraction of the dispatcher's cost.
        """
        if is_profiled():
            with record_event(self.event, (image, maps, *options)):
                return self._differentiable(launch, image, maps, *options)
        return self._differentiable(launch, image, maps, *options)

    def _differentiable(
        self, launch: Launcher, image: Tensor, maps: Tensor, *options: Any
    ) -> Tensor:
        if torch.is_grad_enabled() and (image.requires_grad or maps.requires_grad):
            output: Tensor = self._apply(launch, image, maps, *options)
            return output
        return launch(image, maps, options[-3])


def _make_function(name: str, grid: bool) -> Any:
    """The autograd function of an operator.

    ``gradient`` and ``setup`` are for ``torch.library.register_autograd``, which passes no
    launcher.
    """
    operator = getattr(torch.ops.stn, f"{name}_backward").default
    event = f"stn::{name}_backward"

    def setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        image, maps, *_, kernel, padding, fill, align_corners, backend = inputs
        ctx.options = kernel, padding, align_corners, backend
        ctx.save_for_backward(image, maps, fill)

    def forward(ctx: Any, launch: Launcher, image: Tensor, maps: Tensor, *options: Any) -> Tensor:
        *_, kernel, padding, fill, align_corners, backend = options
        ctx.options = kernel, padding, align_corners, backend
        ctx.save_for_backward(image, maps, fill)
        return launch(image, maps, fill)

    def gradients(
        ctx: Any, grad: Tensor, needed: tuple[bool, bool]
    ) -> tuple[Tensor | None, Tensor | None]:
        image, maps, fill = ctx.saved_tensors
        kernel, padding, align_corners, backend = ctx.options
        options = (kernel, padding, fill, align_corners)
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            inputs = [t for t, n in zip((image, maps), needed, strict=True) if n]
            out = _eager(grid, image, maps, grad.shape[2:], options)
            results = iter(torch.autograd.grad(out, inputs, grad, create_graph=True))
            to_image, to_maps = (next(results) if n else None for n in needed)
            return to_image, to_maps
        if needs_dispatcher(grad, image, maps, *(() if fill is None else (fill,))):
            matrix = as_matrix(maps, image)
            to_image, to_maps = operator(grad, image, matrix, *options, backend, *needed)
            return (to_image if needed[0] else None), (
                to_maps.reshape(maps.shape) if needed[1] else None
            )
        arguments = (grad, image, maps, *options, backend, *needed)
        if is_profiled():
            with record_event(event, arguments):
                return schema.backward(*arguments, grid=grid)
        return schema.backward(*arguments, grid=grid)

    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        _, image, maps, *others = ctx.needs_input_grad
        return None, *gradients(ctx, grad, (image, maps)), *[None] * len(others)

    def gradient(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        image, maps, *others = ctx.needs_input_grad
        return *gradients(ctx, grad, (image, maps)), *[None] * len(others)

    members = {
        "forward": staticmethod(forward),
        "backward": staticmethod(backward),
        "gradient": staticmethod(gradient),
        "setup": staticmethod(setup),
    }
    return type(f"stn_{name}", (torch.autograd.Function,), members)


#: image, matrix (or affine theta), size, kernel, padding, fill, align_corners, backend -> the image
#: warped
warp_matrix = FusedOperator("warp_matrix", grid=False)
#: image, grid, kernel, padding, fill, align_corners, backend -> the image at the grid
sample_grid = FusedOperator("sample_grid", grid=True)
