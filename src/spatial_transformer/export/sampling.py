"""The replacements of the fused operators in an exported graph.

Bilinear and (2-D) bicubic become grid_sample, a single operator in most run times, wherever it has
the padding; the others become gathers and weighted sums. So does `nearest`: grid_sample rounds
half-way points to even, we round them up. For run times without grid_sample, which is common in
3-D, everything becomes gathers.
"""

from collections.abc import Callable, Collection
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from spatial_transformer.coordinates import coordinate_dtype, to_normalised, to_pixel
from spatial_transformer.samplers import as_kernel
from spatial_transformer.samplers.eager import sample_eager
from spatial_transformer.transforms.matrix import grid_from_matrix

#: the supported numbers of image dimensions
ALL_DIMS = (2, 3)

#: (kernel, image dimensions) for which grid_sample equals ours
GRID_SAMPLE = {("bilinear", 2), ("bilinear", 3), ("bicubic", 2)}

#: our padding -> grid_sample's
PADDINGS = {"zeros": "zeros", "fill": "zeros", "border": "border", "reflection": "reflection"}

#: grid_sample's own codes, in their order
MODES = ("bilinear", "nearest", "bicubic")
PADDING_MODES = ("zeros", "border", "reflection")

#: run times cast coordinates to integers, which larger ones would overflow
FARTHEST = 1e6


def sample_exported(
    image: Tensor,
    grid: Tensor,
    kernel: str,
    padding: str,
    fill: Tensor | None,
    align_corners: bool,
    backend: str,
    *,
    grid_sample: Collection[int] = ALL_DIMS,
) -> Tensor:
    """``stn::sample_grid`` in ATen operators; dimensions ``grid_sample`` may use that one."""
    images, grids = image.shape[0], grid.shape[0]
    if images != 1 and grids != 1 and images != grids:  # N grids of one image follow each other
        options = (kernel, padding, fill, align_corners, backend)
        stacked = grid.unflatten(0, (images, -1)).flatten(1, 2)
        warped = sample_exported(image, stacked, *options, grid_sample=grid_sample)
        return warped.unflatten(2, (-1, grid.shape[1])).movedim(2, 1).flatten(0, 1)
    dims = image.dim() - 2
    if dims not in grid_sample or (kernel, dims) not in GRID_SAMPLE or padding not in PADDINGS:
        return sample_eager(image, grid, as_kernel(kernel), padding, fill, align_corners)
    result, dtype = image.dtype, coordinate_dtype(image, grid)
    image, grid = image.to(dtype), grid.to(dtype)
    batch = max(image.shape[0], grid.shape[0])
    finite = torch.isfinite(grid).all(dim=-1)
    safe = torch.where(finite.unsqueeze(-1), grid, 0).clamp(-FARTHEST, FARTHEST)
    level = torch.zeros((), dtype=dtype) if fill is None else fill.to(dtype)
    level = level.reshape(*level.shape[:2], *(1,) * (image.dim() - 2))
    shifted = image - level if padding == "fill" else image
    warped = F.grid_sample(
        shifted.expand(batch, *image.shape[1:]),
        safe.expand(batch, *grid.shape[1:]),
        mode=kernel,
        padding_mode=PADDINGS[padding],
        align_corners=align_corners,
    )
    warped = warped + level if padding == "fill" else warped
    return torch.where(finite.unsqueeze(1), warped, level).to(result)


def warp_exported(
    image: Tensor, matrix: Tensor, size: Any, *options: Any, grid_sample: Collection[int] = ALL_DIMS
) -> Tensor:
    """``stn::warp_matrix`` in ATen operators."""
    align_corners = options[-2]
    maps = matrix.to(coordinate_dtype(matrix))
    grid = grid_from_matrix(maps, tuple(size), align_corners)
    return sample_exported(image, grid, *options, grid_sample=grid_sample)


def gathered(
    image: Tensor,
    grid: Tensor,
    mode: int,
    padding_mode: int,
    align_corners: bool,
    *,
    grid_sample: Collection[int] = (),
) -> Tensor:
    """``aten::grid_sampler``, which a module calls itself, as gathers.

    In images of the dimensions ``grid_sample`` it is unchanged.
    """
    dims = image.dim() - 2
    if dims in grid_sample:
        operator = torch.ops.aten.grid_sampler_2d if dims == 2 else torch.ops.aten.grid_sampler_3d
        warped: Tensor = operator(image, grid, mode, padding_mode, align_corners)
        return warped
    if MODES[mode] == "nearest":  # torch rounds half-way points to even
        sizes = zip(grid.unbind(-1), reversed(image.shape[2:]), strict=True)
        pixels = [(to_pixel(x, n, align_corners).round(), n) for x, n in sizes]
        grid = torch.stack([to_normalised(u, n, align_corners) for u, n in pixels], dim=-1)
    kernel = as_kernel(MODES[mode])
    return sample_eager(image, grid, kernel, PADDING_MODES[padding_mode], None, align_corners)


def remainder_exported(x: Tensor, period: Any) -> Tensor:
    """``aten::remainder`` by a dynamic size, which ONNX has for tensors only."""
    return torch.remainder(x, torch.scalar_tensor(period, dtype=x.dtype))


def decompositions(grid_sample: Collection[int]) -> dict[Any, Callable[..., Tensor]]:
    """The replacement of each operator; dimensions ``grid_sample`` may use grid_sample."""
    table: dict[Any, Callable[..., Tensor]] = {
        torch.ops.stn.sample_grid.default: partial(sample_exported, grid_sample=grid_sample),
        torch.ops.stn.warp_matrix.default: partial(warp_exported, grid_sample=grid_sample),
        torch.ops.aten.remainder.Scalar: remainder_exported,
    }
    if not set(ALL_DIMS) <= set(grid_sample):
        operator = torch.ops.aten.grid_sampler.default
        table[operator] = partial(gathered, grid_sample=grid_sample)
    return table
