"""The paper's convolutional classifier."""

from collections.abc import Sequence

from torch import nn

from spatial_transformer.errors import ShapeError


class CNN(nn.Sequential):
    """conv 9x9, max-pool 2, conv 7x7, max-pool 2 (no padding), then the classes' scores.

    Source: the paper's appendix A.3.
    Image ``(B, C, H, W)`` of ``in_shape`` (C, H, W) -> logits ``(B, classes)``.
    Raises: ShapeError where the convolutions do not fit (below 24 pixels).
    """

    def __init__(self, in_shape: Sequence[int], width: int, classes: int = 10) -> None:
        channels, *spatial = in_shape
        left = [((n - 8) // 2 - 6) // 2 for n in spatial]
        if min(left) < 1:
            raise ShapeError(f"CNN needs images of at least 24x24 pixels, got {tuple(spatial)}")
        super().__init__(
            nn.Conv2d(channels, width, 9),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(width, width, 7),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(width * left[0] * left[1], classes),
        )
