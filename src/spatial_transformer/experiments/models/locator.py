"""The co-localisation network: a spatial transformer on its own."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from spatial_transformer.localisation import Localisation
from spatial_transformer.localisation.layers import LazyConv2d, LazyLinear
from spatial_transformer.modules.spatial_transformer import SpatialTransformer
from spatial_transformer.transforms import Attention
from spatial_transformer.transforms.matrix import MatrixTransform

#: a window's size, of the canvas. The digit's own, a third, is left out: there the window reads
#: whole pixels, interpolates nothing, and is sharper than everywhere else wherever it is.
SIZES = (0.35, 0.42)
#: how far its centre goes from the canvas's
REACH = 0.7


class Window(MatrixTransform):
    """Attention within bounds: s in ``SIZES``, tx and ty within ``REACH``.

    Zero theta is the middle of the bounds, not the identity: the whole canvas is out of bounds.
    """

    name = "window"
    supported_dims = (2,)
    has_identity = False

    def __init__(self) -> None:
        super().__init__(2)
        low, high = SIZES
        self._middle = torch.tensor([(low + high) / 2, 0.0, 0.0])
        self._half = torch.tensor([(high - low) / 2, REACH, REACH])
        self._attention = Attention()

    def _names(self) -> tuple[str, ...]:
        return ("s", "tx", "ty")

    def _full_identity(self) -> list[float]:
        return [0.0, 0.0, 0.0]

    def values(self, theta: Tensor) -> Tensor:
        """s, tx and ty within their bounds: ``(..., 3)`` -> ``(..., 3)``."""
        return self._middle.to(theta) + self._half.to(theta) * torch.tanh(theta)

    def _matrix(self, full: Tensor) -> Tensor:
        return self._attention.matrix(self.values(full))

    def _from_matrix(self, matrix: Tensor) -> Tensor:
        values = self._attention.from_matrix(matrix)
        return torch.atanh((values - self._middle.to(values)) / self._half.to(values))


class Locator(SpatialTransformer):
    """A ``Window`` that crops ``size`` pixels from a canvas, initially from its middle.

    Note:
        Source: the paper's appendix A.2: eight 9x9 filters of stride 4, 2x2 max-pooling, two dense
        layers of 8 units, and the regression of theta. (These layers have 6k parameters, not the
        paper's 100k.)
    """

    def __init__(self, in_shape: Sequence[int], size: int) -> None:
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
        window = Window()
        super().__init__(Localisation(body, window, in_shape=shape), window, size)
