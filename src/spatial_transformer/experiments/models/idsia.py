"""The traffic sign classifier of IDSIA, and the spatial transformers in it."""

import math
from collections.abc import Callable, Sequence

from torch import Tensor, nn

from spatial_transformer.errors import ShapeError
from spatial_transformer.experiments.models.cnn import FirstConv2d
from spatial_transformer.experiments.models.normalise import local_contrast
from spatial_transformer.localisation import Localisation
from spatial_transformer.localisation.layers import LazyConv2d, LazyLinear
from spatial_transformer.transforms import Transform

#: filters of the convolutions and units of the dense layer, times the width; IDSIA's is 50
FILTERS, UNITS = (2, 3, 5), 6
#: side and padding of the convolutions, in pixels: 32x32 ends as 3x3, as IDSIA's 48x48 does
KERNELS = ((7, 2), (4, 1), (4, 1))
DROPOUT = 0.3

#: place and shape (C, H, W) -> the spatial transformer there: 1 is after the first convolution
Transformer = Callable[[int, tuple[int, ...]], nn.Module]


class LocalContrast(nn.Module):
    """``local_contrast`` as a layer."""

    def forward(self, images: Tensor) -> Tensor:
        """Images ``(B, C, H, W)`` in [0, 1] to normalised ones."""
        return local_contrast(images)


class IDSIA(nn.Sequential):
    """conv 7x7, conv 4x4, conv 4x4, each max-pooled by 2, a dense layer, the classes' scores.

    Images ``(B, C, H, W)`` in [0, 1] of ``in_shape`` (C, H, W) to logits ``(B, classes)``. Their
    local contrast is normalised first. Batch norms and rectifiers come after the pools: a quarter
    of the work.

    Args:
        in_shape: ``(C, H, W)`` of an image.
        width: 50 for IDSIA's 100, 150 and 250 filters and 300 units.
        classes: Number of classes.
        places: After which convolutions (1, 2) there are spatial transformers.
        transformer: Makes them.

    Raises:
        ShapeError: If the convolutions do not fit.

    Note:
        Source: Ciresan et al., "Multi-column deep neural network for traffic sign classification"
        (2012); transformers as in gtsrb.torch.
    """

    def __init__(
        self,
        in_shape: Sequence[int],
        width: int,
        classes: int = 43,
        places: Sequence[int] = (),
        transformer: Transformer | None = None,
    ) -> None:
        layers: list[nn.Module] = [LocalContrast()]
        channels, *spatial = in_shape
        for place, (times, (side, padding)) in enumerate(zip(FILTERS, KERNELS, strict=True)):
            if transformer is not None and place in places:
                layers.append(transformer(place, (channels, *spatial)))
            kind = nn.Conv2d if place else FirstConv2d
            filters = times * width
            layers += [
                kind(channels, filters, side, padding=padding),
                nn.MaxPool2d(2),
                nn.BatchNorm2d(filters),
                nn.ReLU(),
            ]
            channels = filters
            spatial = [(n + 2 * padding - side + 1) // 2 for n in spatial]
        if min(spatial) < 1:
            raise ShapeError(f"IDSIA needs larger images than {tuple(in_shape[1:])} pixels")
        layers += [
            nn.Flatten(),
            nn.Dropout(DROPOUT),
            nn.Linear(channels * math.prod(spatial), UNITS * width),
            nn.ReLU(),
            nn.Dropout(DROPOUT),
            nn.Linear(UNITS * width, classes),
        ]
        super().__init__(*layers)


def localise(place: int, transform: Transform, in_shape: tuple[int, ...]) -> Localisation:
    """The localisation network of a transformer on the input (place 0) or further inside.

    Two 5x5 convolutions on the input, one inside, max-pooled by 2, and a dense layer; what is large
    is halved first. They do not depend on the classifier's width.

    Note:
        Source: gtsrb.torch, narrower.
    """
    layers: list[nn.Module] = [LocalContrast()] if place == 0 else []
    layers += [nn.AvgPool2d(2)] if place < 2 else []
    for filters in (32, 48) if place == 0 else (32,):
        layers += [LazyConv2d(filters, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)]
    layers += [nn.Flatten(), LazyLinear(48), nn.ReLU()]
    return Localisation(nn.Sequential(*layers), transform, in_shape=in_shape)
