"""How images and maps are laid out in memory, whichever kernels read them."""

import torch
from torch import Tensor

from spatial_transformer.errors import ShapeError


def is_channels_last(image: Tensor) -> bool:
    """Whether the channels of a pixel lie side by side (and not the pixels of a channel)."""
    if image.is_contiguous():
        return False
    layout = torch.channels_last if image.dim() == 4 else torch.channels_last_3d
    return image.is_contiguous(memory_format=layout)


def layout_of(image: Tensor) -> torch.memory_format:
    """The layout of what is made out of ``image``."""
    if not is_channels_last(image):
        return torch.contiguous_format
    return torch.channels_last if image.dim() == 4 else torch.channels_last_3d


def check_maps(shape: tuple[int, ...], size: tuple[int, ...], dims: int, grid: bool) -> None:
    """The kernels believe ``shape``: that of the maps to an output of ``size``, which are grids or
    matrices, affine (or as thetas, the same numbers in a row) or, in 2-D, projective.

    Raises: ShapeError.
    """
    allowed: list[tuple[int, ...]] = [(*size, dims)]
    if not grid:
        allowed = [(dims, dims + 1), (dims * (dims + 1),)]
        if dims == 2:
            allowed.append((3, 3))
    if len(size) != dims or tuple(shape[1:]) not in allowed:
        raise ShapeError(f"{'grid' if grid else 'matrix'} has the shape {tuple(shape)}")
