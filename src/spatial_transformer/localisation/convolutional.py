"""The paper's convolutional localisation network."""

from collections.abc import Sequence

from torch import Tensor, nn

from spatial_transformer.errors import OptionError, ShapeError
from spatial_transformer.localisation.base import Localisation
from spatial_transformer.transforms import Transform


class Convolutional(Localisation):
    """Convolutions on a downsampled input, max-pooled in between, then one dense layer.

    Source: the paper's appendix A.3: two 20-filter 5x5 convolutions (stride 1, no padding) on a
    2x downsampled input, 2x2 max-pooling between them, a 20-unit fully connected layer.
    Any input size that the convolutions fit into.

    Raises (forward): ShapeError for an image that is too small.
    """

    def __init__(
        self,
        transform: Transform | str,
        filters: Sequence[int] = (20, 20),
        kernel_size: int = 5,
        units: int = 20,
        downsample: int = 2,
        count: int | None = None,
        in_shape: tuple[int, ...] | None = None,
    ) -> None:
        if not filters:
            raise OptionError("filters must name at least one convolution")
        layers: list[nn.Module] = [nn.AvgPool2d(downsample)] if downsample > 1 else []
        for i, n in enumerate(filters):
            layers += [nn.MaxPool2d(2)] if i else []
            layers += [nn.LazyConv2d(n, kernel_size), nn.ReLU()]
        layers += [nn.Flatten(), nn.LazyLinear(units), nn.ReLU()]
        self.downsample = downsample
        self.kernel_size = kernel_size
        self.depth = len(filters)
        super().__init__(nn.Sequential(*layers), transform, count, in_shape)

    @property
    def smallest(self) -> int:
        """The least height and width the convolutions fit into, in pixels."""
        n = 1
        for i in range(self.depth):
            n = (n + self.kernel_size - 1) * (2 if i < self.depth - 1 else 1)
        return n * self.downsample

    def forward(self, image: Tensor) -> Tensor:
        if min(image.shape[-2:]) < self.smallest:
            raise ShapeError(
                f"image {tuple(image.shape)} is too small for this localisation network: it needs "
                f"{self.smallest}x{self.smallest} (fewer filters, a smaller kernel_size or "
                "downsample=1 take less)"
            )
        return super().forward(image)
