"""The memory format of outputs and gradients, the same for every backend."""

import torch
from torch import Tensor


def is_channels_last(image: Tensor) -> bool:
    """Whether the channels of a pixel are adjacent in memory."""
    if image.is_contiguous():
        return False
    layout = torch.channels_last if image.dim() == 4 else torch.channels_last_3d
    return image.is_contiguous(memory_format=layout)


def layout_of(image: Tensor) -> torch.memory_format:
    """The memory format for tensors computed from ``image``: the image's own."""
    if not is_channels_last(image):
        return torch.contiguous_format
    return torch.channels_last if image.dim() == 4 else torch.channels_last_3d
