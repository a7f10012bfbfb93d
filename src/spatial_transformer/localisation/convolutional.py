"""The paper's convolutional localisation network."""

from collections.abc import Sequence

from torch import Tensor, nn

from spatial_transformer.coordinates import is_count
from spatial_transformer.errors import OptionError, ShapeError
from spatial_transformer.localisation.base import Localisation, check_floating
from spatial_transformer.localisation.layers import (
    LazyConv2d,
    LazyConv3d,
    LazyLinear,
    check_counts,
)
from spatial_transformer.names import TransformName
from spatial_transformer.transforms import Transform, as_transform

#: by the number of spatial dimensions
_LAYERS: dict[int, tuple[type[nn.Module], ...]] = {
    2: (nn.AvgPool2d, nn.MaxPool2d, LazyConv2d),
    3: (nn.AvgPool3d, nn.MaxPool3d, LazyConv3d),
}


class Convolutional(Localisation):
    """Convolutions on a downsampled input, max-pooled in between, then one dense layer.

    In 3-D where the transform is. Any input size that the convolutions fit into; it is fixed by
    ``in_shape`` or the first batch.

    Args:
        transform: The ``Transform`` whose theta is predicted, or its name.
        filters: Filters of each convolution.
        kernel_size: Side of the convolutions' filters, in pixels.
        units: Units of the dense layer.
        downsample: Average-pool the input by this factor first.
        count: N, for theta of shape ``(B, N, P)``; None for ``(B, P)``.
        in_shape: ``(C, H, W)`` of one image, to size lazy layers at once.

    Raises:
        OptionError: If one of the numbers is not a positive whole number.

    Note:
        Source: the paper's appendix A.3: two 20-filter 5x5 convolutions (stride 1, no padding) on a
        2x downsampled input, 2x2 max-pooling between them, a 20-unit fully connected layer.
    """

    def __init__(
        self,
        transform: Transform | TransformName,
        filters: Sequence[int] = (20, 20),
        kernel_size: int = 5,
        units: int = 20,
        downsample: int = 2,
        count: int | None = None,
        in_shape: tuple[int, ...] | None = None,
    ) -> None:
        filters = check_counts("filters", filters)
        if not filters:
            raise OptionError("filters must name at least one convolution")
        for name, value in (
            ("kernel_size", kernel_size),
            ("units", units),
            ("downsample", downsample),
        ):
            if not is_count(value):
                raise OptionError(f"{name} must be a positive whole number, got {value!r}")
        dims = as_transform(transform).dims
        average, maximum, convolution = _LAYERS[dims]
        layers: list[nn.Module] = [average(downsample)] if downsample > 1 else []
        for i, n in enumerate(filters):
            layers += [maximum(2)] if i else []
            layers += [convolution(n, kernel_size), nn.ReLU()]
        layers += [nn.Flatten(), LazyLinear(units), nn.ReLU()]
        self.downsample = downsample
        self.kernel_size = kernel_size
        self.depth = len(filters)
        self.dims = dims
        super().__init__(nn.Sequential(*layers), transform, count, in_shape)

    @property
    def smallest(self) -> int:
        """The least height and width the convolutions fit into, in pixels."""
        n = 1
        for i in range(self.depth):
            n = (n + self.kernel_size - 1) * (2 if i < self.depth - 1 else 1)
        return n * self.downsample

    def forward(self, image: Tensor) -> Tensor:
        """Images ``(B, C, *spatial)`` to theta ``(B, P)`` or ``(B, N, P)``.

        Raises:
            ShapeError: If the image is too small, or not of the first image's size.
            DTypeError: If it is not floating point.
        """
        check_floating(image)
        if min(image.shape[-self.dims :]) < self.smallest:
            needed = "x".join([str(self.smallest)] * self.dims)
            raise ShapeError(
                f"image {tuple(image.shape)} is too small for this localisation network: it needs "
                f"{needed} (fewer filters, a smaller kernel_size or downsample=1 take less)"
            )
        return super().forward(image)
