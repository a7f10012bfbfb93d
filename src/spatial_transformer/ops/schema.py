"""The fused operators registered with torch: schemas, implementations and fake tensors.

``stn::warp_matrix`` takes matrices (theta to image, no grid), ``stn::sample_grid`` explicit grids;
both return what ``samplers.eager`` returns. ``backend`` names the backend that runs the call.
"""

from typing import Any

import torch
from torch import Tensor

from spatial_transformer.ops.backend import BACKENDS, Launcher
from spatial_transformer.ops.layout import layout_of

LIBRARY = torch.library.Library("stn", "DEF")

_OPTIONS = "str kernel, str padding, Tensor? fill, bool align_corners, str backend"
_MASK = "bool needs_image_grad, bool needs_map_grad"
LIBRARY.define(f"warp_matrix(Tensor image, Tensor matrix, SymInt[] size, {_OPTIONS}) -> Tensor")
LIBRARY.define(f"sample_grid(Tensor image, Tensor grid, {_OPTIONS}) -> Tensor")
LIBRARY.define(
    f"warp_matrix_backward(Tensor grad, Tensor image, Tensor matrix, {_OPTIONS}, {_MASK}) "
    "-> (Tensor, Tensor)"
)
LIBRARY.define(
    f"sample_grid_backward(Tensor grad, Tensor image, Tensor grid, {_OPTIONS}, {_MASK}) "
    "-> (Tensor, Tensor)"
)


def bind(image: Tensor, maps: Tensor, size: Any, options: tuple[Any, ...], grid: bool) -> Launcher:
    """The forward call for these tensors, without the dispatcher.

    It also takes other tensors of the same shapes, strides and dtypes.
    """
    kernel, padding, fill, align_corners, backend = options
    return BACKENDS[backend].bind(
        image, maps, tuple(size), kernel, padding, fill, align_corners, grid=grid
    )


def _warp_matrix(image: Tensor, matrix: Tensor, size: Any, *options: Any) -> Tensor:
    return bind(image, matrix, size, options, False)(image, matrix, options[2])


def _sample_grid(image: Tensor, grid: Tensor, *options: Any) -> Tensor:
    return bind(image, grid, grid.shape[1:-1], options, True)(image, grid, options[2])


def backward(
    grad: Tensor, image: Tensor, maps: Tensor, *options: Any, grid: bool
) -> tuple[Tensor | None, Tensor | None]:
    """The gradients to image and maps, without the dispatcher; None for one not needed."""
    *sampling, name, needs_image_grad, needs_map_grad = options
    return BACKENDS[name].backward(
        grad,
        image,
        maps,
        *sampling,
        grid=grid,
        needs_image_grad=needs_image_grad,
        needs_map_grad=needs_map_grad,
    )


def _backward(grid: bool) -> Any:
    """``backward`` as an operator, which must return tensors: an empty one instead of None."""

    def call(grad: Tensor, image: Tensor, *options: Any) -> tuple[Tensor, ...]:
        gradients = backward(grad, image, *options, grid=grid)
        return tuple(image.new_empty(0) if g is None else g for g in gradients)

    return call


for _name, _function in (
    ("warp_matrix", _warp_matrix),
    ("sample_grid", _sample_grid),
    ("warp_matrix_backward", _backward(grid=False)),
    ("sample_grid_backward", _backward(grid=True)),
):
    for _device in ("CPU", "CUDA"):
        LIBRARY.impl(_name, _function, _device)


def _fake(image: Tensor, maps: Tensor, size: Any) -> Tensor:
    shape = (max(image.shape[0], maps.shape[0]), image.shape[1], *size)
    return torch.empty(
        shape, dtype=image.dtype, device=image.device, memory_format=layout_of(image)
    )


def _fake_warp(image: Tensor, matrix: Tensor, size: list[int], *options: Any) -> Tensor:
    return _fake(image, matrix, size)


def _fake_sample(image: Tensor, grid: Tensor, *options: Any) -> Tensor:
    return _fake(image, grid, grid.shape[1:-1])


def _fake_backward(
    grad: Tensor, image: Tensor, maps: Tensor, *options: Any
) -> tuple[Tensor, Tensor]:
    needs_image_grad, needs_map_grad = options[-2:]
    none = image.new_empty(0)
    to_image = torch.empty_like(image, memory_format=layout_of(image))
    to_maps = torch.empty_like(maps, memory_format=torch.contiguous_format)
    return to_image if needs_image_grad else none, to_maps if needs_map_grad else none


torch.library.register_fake("stn::warp_matrix", _fake_warp, lib=LIBRARY)
torch.library.register_fake("stn::sample_grid", _fake_sample, lib=LIBRARY)
torch.library.register_fake("stn::warp_matrix_backward", _fake_backward, lib=LIBRARY)
torch.library.register_fake("stn::sample_grid_backward", _fake_backward, lib=LIBRARY)
