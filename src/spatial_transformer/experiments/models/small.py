"""The small networks of the inverse-compositional spatial transformers."""

from collections.abc import Sequence

from torch import nn

from spatial_transformer.errors import ShapeError
from spatial_transformer.experiments.models.cnn import FirstConv2d
from spatial_transformer.localisation import Localisation
from spatial_transformer.localisation.layers import (
    LazyConv2d,
    LazyLinear,
    init_for_rectifier,
)
from spatial_transformer.transforms import Transform


def _check_least(name: str, spatial: Sequence[int], least: int) -> None:
    if min(spatial) < least:
        raise ShapeError(
            f"{name} needs images of at least {least}x{least} pixels, got {tuple(spatial)}"
        )


class SmallCNN(nn.Sequential):
    """Four 3x3 convolutions of 3, 6, 9 and 12 filters, a max-pool after the second; two dense.

    Images ``(B, C, H, W)`` of ``in_shape`` (C, H, W) to logits ``(B, classes)``. The hidden dense
    layer has ``units``.

    Raises:
        ShapeError: If the convolutions do not fit (below 14 pixels).

    Note:
        Source: Lin & Lucey 2017, table 1, the CNN; with 48 units it has the 39,079 parameters that
        stand there.
    """

    def __init__(self, in_shape: Sequence[int], units: int, classes: int = 10) -> None:
        channels, *spatial = in_shape
        _check_least("SmallCNN", spatial, 14)
        height, width = ((n - 4) // 2 - 4 for n in spatial)
        super().__init__(
            *(nn.Conv2d(channels, 3, 3), nn.ReLU()),
            *(nn.Conv2d(3, 6, 3), nn.MaxPool2d(2), nn.ReLU()),
            *(nn.Conv2d(6, 9, 3), nn.ReLU()),
            *(nn.Conv2d(9, 12, 3), nn.ReLU()),
            nn.Flatten(),
            *(nn.Linear(12 * height * width, units), nn.ReLU()),
            nn.Linear(units, classes),
        )


class SmallClassifier(nn.Sequential):
    """A 9x9 convolution of three filters, then the classes' scores: for images that are aligned.

    Images ``(B, C, H, W)`` of ``in_shape`` (C, H, W) to logits ``(B, classes)``.

    Raises:
        ShapeError: If the convolution does not fit (below 9 pixels).

    Note:
        Source: Lin & Lucey 2017, table 1, behind every transformer.
    """

    def __init__(self, in_shape: Sequence[int], classes: int = 10) -> None:
        channels, *spatial = in_shape
        _check_least("SmallClassifier", spatial, 9)
        height, width = (n - 8 for n in spatial)
        super().__init__(
            FirstConv2d(channels, 3, 9),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(3 * height * width, classes),
        )


class SmallLocalisation(Localisation):
    """7x7 convolutions of 4 and 8 filters, a max-pool, a dense layer of ``units``, then theta.

    Raises:
        ShapeError: If the convolutions do not fit (below 14 pixels).

    Note:
        Source: Lin & Lucey 2017, table 1, the STN and each step of the IC-STN; with 48 units and
        ``SmallClassifier`` they have the 39,048 parameters that stand there, for a homography.
    """

    def __init__(self, in_shape: Sequence[int], units: int, transform: Transform) -> None:
        _check_least("SmallLocalisation", in_shape[1:], 14)
        first = FirstConv2d(in_shape[0], 4, 7)  # of views, whose gradient is theta's
        init_for_rectifier(first)
        body = nn.Sequential(
            *(first, nn.ReLU()),
            *(LazyConv2d(8, 7), nn.MaxPool2d(2), nn.ReLU()),
            nn.Flatten(),
            *(LazyLinear(units), nn.ReLU()),
        )
        super().__init__(body, transform, in_shape=tuple(in_shape))
