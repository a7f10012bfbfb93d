"""The paper's fully connected localisation network."""

from collections.abc import Sequence

from torch import Tensor, nn

from spatial_transformer.localisation.base import Localisation, check_floating
from spatial_transformer.localisation.layers import LazyLinear, check_counts
from spatial_transformer.names import TransformName
from spatial_transformer.transforms import Transform


class FullyConnected(Localisation):
    """Fully connected layers with rectified linear units on the flattened image.

    Any input size; it is fixed by ``in_shape`` or the first batch.

    Args:
        transform: The ``Transform`` whose theta is predicted, or its name.
        units: Units of each hidden layer.
        count: N, for theta of shape ``(B, N, P)``; None for ``(B, P)``.
        in_shape: ``(C, H, W)`` of one image, to size lazy layers at once.

    Raises:
        OptionError: If ``units`` are not positive whole numbers.

    Note:
        Source: the paper's appendix A.3, "32 unit fully connected layers" (three of them) in
        ST-FCN.
    """

    def __init__(
        self,
        transform: Transform | TransformName,
        units: Sequence[int] = (32, 32, 32),
        count: int | None = None,
        in_shape: tuple[int, ...] | None = None,
    ) -> None:
        layers: list[nn.Module] = [nn.Flatten()]
        for n in check_counts("units", units):
            layers += [LazyLinear(n), nn.ReLU()]
        super().__init__(nn.Sequential(*layers), transform, count, in_shape)

    def forward(self, image: Tensor) -> Tensor:
        """Images ``(B, C, *spatial)`` to theta ``(B, P)`` or ``(B, N, P)``.

        Raises:
            ShapeError: If the image's size is not that of the first image.
            DTypeError: If it is not floating point.
        """
        check_floating(image)
        return super().forward(image)
