"""The co-localisation network: a spatial transformer on its own."""

from collections.abc import Sequence

from torch import nn

from spatial_transformer.localisation import Localisation
from spatial_transformer.modules.spatial_transformer import SpatialTransformer
from spatial_transformer.transforms import Transform


class Locator(SpatialTransformer):
    """A transformer that crops ``size`` pixels out of a canvas.

    Source: the paper's appendix A.2: eight 9x9 filters of stride 4, 2x2 max-pooling, two dense
    layers of 8 units, and the regression of theta. (These layers have 6k parameters, not the 100k
    that the paper speaks of.)
    """

    def __init__(self, in_shape: Sequence[int], transform: Transform | str, size: int) -> None:
        body = nn.Sequential(
            nn.Conv2d(in_shape[0], 8, 9, stride=4),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.LazyLinear(8),
            nn.ReLU(),
            nn.Linear(8, 8),
            nn.ReLU(),
        )
        shape = (in_shape[0], in_shape[1], in_shape[2])
        super().__init__(Localisation(body, transform, in_shape=shape), transform, size)
