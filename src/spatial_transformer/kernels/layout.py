"""How images and maps are laid out, whichever kernels read them."""

import torch
from torch import Tensor


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


def shapes_of_maps(size: tuple[int, ...], grid: bool) -> tuple[tuple[int, ...], ...]:
    """What one map to an output of ``size`` may be: its grid; or its matrix, affine (also as theta,
    which is the same numbers in a row) or, in 2-D, projective."""
    dims = len(size)
    if grid:
        return ((*size, dims),)
    affine = ((dims, dims + 1), (dims * (dims + 1),))
    return (*affine, (3, 3)) if dims == 2 else affine
