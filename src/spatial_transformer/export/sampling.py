"""What the fused operators become in an exported graph.

Bilinear and (2-D) bicubic become grid_sample, which every run time has as one operator, wherever
it has the padding; the rest becomes gathers and weighted sums. `nearest` does too: grid_sample
rounds half-way points to even, we round them up.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from spatial_transformer.coordinates import coordinate_dtype
from spatial_transformer.samplers import as_kernel
from spatial_transformer.samplers.eager import sample_eager
from spatial_transformer.transforms.matrix import grid_from_matrix

#: (kernel, image's dimensions) that grid_sample has as we do
GRID_SAMPLE = {("bilinear", 2), ("bilinear", 3), ("bicubic", 2)}

#: our padding -> grid_sample's
PADDINGS = {"zeros": "zeros", "fill": "zeros", "border": "border", "reflection": "reflection"}

#: run times cast coordinates to integers, which larger ones overflow; this far out all read alike
FARTHEST = 1e6


def sample_exported(
    image: Tensor,
    grid: Tensor,
    kernel: str,
    padding: str,
    fill: Tensor | None,
    align_corners: bool,
    backend: str,
) -> Tensor:
    """``stn::sample_grid`` in ATen operators."""
    images, grids = image.shape[0], grid.shape[0]
    if images != 1 and grids != 1 and images != grids:  # N grids of one image follow each other
        options = (kernel, padding, fill, align_corners, backend)
        stacked = grid.unflatten(0, (images, -1)).flatten(1, 2)
        warped = sample_exported(image, stacked, *options)
        return warped.unflatten(2, (-1, grid.shape[1])).movedim(2, 1).flatten(0, 1)
    if (kernel, image.dim() - 2) not in GRID_SAMPLE or padding not in PADDINGS:
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


def warp_exported(image: Tensor, matrix: Tensor, size: Any, *options: Any) -> Tensor:
    """``stn::warp_matrix`` in ATen operators."""
    align_corners = options[-2]
    maps = matrix.to(coordinate_dtype(matrix))
    return sample_exported(image, grid_from_matrix(maps, tuple(size), align_corners), *options)


def remainder_exported(x: Tensor, period: Any) -> Tensor:
    """``aten::remainder`` by a size that is not fixed, which ONNX has for tensors alone."""
    return torch.remainder(x, torch.scalar_tensor(period, dtype=x.dtype))


DECOMPOSITIONS: dict[Any, Callable[..., Tensor]] = {
    torch.ops.stn.sample_grid.default: sample_exported,
    torch.ops.stn.warp_matrix.default: warp_exported,
    torch.ops.aten.remainder.Scalar: remainder_exported,
}
