"""The paper's fully connected localisation network."""

from collections.abc import Sequence

from torch import Tensor, nn

from spatial_transformer.localisation.base import Localisation, check_floating
from spatial_transformer.localisation.layers import LazyLinear, check_counts
from spatial_transformer.transforms import Transform


class FullyConnected(Localisation):
    """Hidden layers of ``units`` with rectified linear units, on the flattened image.

    Source: the paper's appendix A.3, "32 unit fully connected layers" (three of them) in ST-FCN.
    Any input size; it is fixed by ``in_shape`` or the first batch.

    Raises (forward): DTypeError for whole numbers.
    """

    def __init__(
        self,
        transform: Transform | str,
        units: Sequence[int] = (32, 32, 32),
        count: int | None = None,
        in_shape: tuple[int, ...] | None = None,
    ) -> None:
        layers: list[nn.Module] = [nn.Flatten()]
        for n in check_counts("units", units):
            layers += [LazyLinear(n), nn.ReLU()]
        super().__init__(nn.Sequential(*layers), transform, count, in_shape)

    def forward(self, image: Tensor) -> Tensor:
        check_floating(image)
        return super().forward(image)
