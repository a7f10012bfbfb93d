"""The paper's convolutional classifier."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spatial_transformer.errors import ShapeError


def convolve_rows(image: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """A convolution (stride 1, no padding) with the filter's columns arranged as channels.

    It computes the same sums as ``torch.nn.functional.conv2d``. For an image of few channels it is
    several times faster on a CPU when the image's own gradient is needed, as behind a transformer.

    Args:
        image: ``(B, C, H, W)``.
        weight: ``(N, C, h, w)``.
        bias: ``(N,)``.

    Returns:
        ``(B, N, H - h + 1, W - w + 1)``.
    """
    columns = image.unfold(3, weight.shape[3], 1)  # (B, C, H, W', w)
    channels = columns.permute(0, 1, 4, 2, 3).flatten(1, 2)
    channels = channels.contiguous(memory_format=torch.channels_last)
    # contiguous: torch's own convolution, where oneDNN has none, wants the gradient to be
    kernel = weight.transpose(2, 3).flatten(1, 2).unsqueeze(-1).contiguous()
    return F.conv2d(channels, kernel, bias)


class FirstConv2d(nn.Conv2d):
    """A convolution (stride 1) of an image of few channels, fast on a CPU in the backward pass too.

    ``padding`` is with zeros, in pixels on every side.
    """

    def __init__(self, channels: int, filters: int, size: int, padding: int = 0) -> None:
        super().__init__(channels, filters, size, padding=padding)
        self.border = (padding,) * 4

    def forward(self, image: Tensor) -> Tensor:
        """Images ``(B, C, H, W)`` to features ``(B, N, H', W')``."""
        if image.requires_grad and image.device.type == "cpu":
            return convolve_rows(F.pad(image, self.border), self.weight, self.bias)
        return super().forward(image)


class CNN(nn.Sequential):
    """conv 9x9, max-pool 2, conv 7x7, max-pool 2 (no padding), then the classes' scores.

    Images ``(B, C, H, W)`` of ``in_shape`` (C, H, W) to logits ``(B, classes)``. The rectifiers
    come after the pools: the same numbers from a quarter of the work.

    Raises:
        ShapeError: If the convolutions do not fit (below 24 pixels).

    Note:
        Source: the paper's appendix A.3.
    """

    def __init__(self, in_shape: Sequence[int], width: int, classes: int = 10) -> None:
        channels, *spatial = in_shape
        left = [((n - 8) // 2 - 6) // 2 for n in spatial]
        if min(left) < 1:
            raise ShapeError(f"CNN needs images of at least 24x24 pixels, got {tuple(spatial)}")
        super().__init__(
            FirstConv2d(channels, width, 9),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Conv2d(width, width, 7),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(width * left[0] * left[1], classes),
        )
