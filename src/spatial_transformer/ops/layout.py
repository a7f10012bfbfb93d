"""How what is made out of an image is laid out, whichever kernels make it."""

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
