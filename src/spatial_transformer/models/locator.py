"""The co-localisation network: a spatial transformer on its own."""

from collections.abc import Sequence

import torch
from torch import nn

from spatial_transformer.localisation import Localisation
from spatial_transformer.localisation.layers import LazyConv2d, LazyLinear
from spatial_transformer.modules.spatial_transformer import SpatialTransformer
from spatial_transformer.transforms import Attention, Bounded


class Locator(SpatialTransformer):
    """An attention transformer that crops ``size`` pixels out of a canvas. Its window starts at
    0.4 of the canvas, somewhat larger than a digit, and can neither leave the canvas nor vanish.

    Source: the paper's appendix A.2: eight 9x9 filters of stride 4, 2x2 max-pooling, two dense
    layers of 8 units, and the regression of theta. (These layers have 6k parameters, not the 100k
    that the paper speaks of.)
    """

    def __init__(self, in_shape: Sequence[int], size: int) -> None:
        window = Bounded(Attention(), {"s": (0.2, 1.1), "tx": (-0.7, 0.7), "ty": (-0.7, 0.7)})
        body = nn.Sequential(
            LazyConv2d(8, 9, stride=4),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            LazyLinear(8),
            nn.ReLU(),
            LazyLinear(8),
            nn.ReLU(),
        )
        shape = (in_shape[0], in_shape[1], in_shape[2])
        network = Localisation(body, window, in_shape=shape)
        super().__init__(network, window, size)
        start = window.from_matrix(torch.tensor([[[0.4, 0.0, 0.0], [0.0, 0.4, 0.0]]]))
        with torch.no_grad():
            network.head.bias.copy_(start[0])
