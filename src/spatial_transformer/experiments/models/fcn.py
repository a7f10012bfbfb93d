"""The paper's fully connected classifier."""

import math
from collections.abc import Sequence

from torch import nn


class FCN(nn.Sequential):
    """Two hidden fully connected layers of ``width`` units, then the classes' scores.

    Images ``(B, C, H, W)`` of ``in_shape`` (C, H, W) to logits ``(B, classes)``.

    Note:
        Source: the paper's appendix A.3.
    """

    def __init__(self, in_shape: Sequence[int], width: int, classes: int = 10) -> None:
        super().__init__(
            nn.Flatten(),
            nn.Linear(math.prod(in_shape), width),
            nn.ReLU(),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Linear(width, classes),
        )
