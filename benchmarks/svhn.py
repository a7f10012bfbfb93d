"""The networks of the paper's appendix A.4 for 64x64 house numbers, transformers or none."""

import torch
from torch import Tensor, nn

import spatial_transformer as stn
from spatial_transformer.experiments.models.cnn import FirstConv2d
from spatial_transformer.localisation import Localisation

#: conv[N,5,1,2] one after the other; after which of them max[2] comes
FILTERS = (48, 64, 128, 160, 192, 192, 192, 192)
POOLED = (0, 2, 4, 6)
DIGITS, CLASSES = 5, 11


class House(nn.Module):
    """``(B, 3, 64, 64)`` -> the scores of five digits, ``(B, 5, 11)``.

    Source: the paper's appendix A.4. ``transformers`` affine ones come before as many of the first
    convolutions, each with its own fc[32]-fc[32] localisation network; dropout is 0.5 after all but
    the first convolution. ``units`` and ``filters`` are the paper's unless told otherwise.
    """

    def __init__(
        self,
        transformers: int = 0,
        size: int = 64,
        filters: tuple[int, ...] = FILTERS,
        units: int = 3072,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for k, wide in enumerate(filters):
            if k < transformers:
                localisation = stn.make_localisation(
                    "fully_connected", "affine", units=(32, 32), in_shape=(channels, size, size)
                )
                layers.append(stn.SpatialTransformer(localisation, "affine"))
            convolution = nn.Conv2d if k else FirstConv2d  # in both networks
            layers += [convolution(channels, wide, 5, padding=2), nn.ReLU()]
            layers += [nn.MaxPool2d(2)] if k in POOLED else []
            layers += [nn.Dropout()] if k else []
            size, channels = size // (2 if k in POOLED else 1), wide
        layers.append(nn.Flatten())
        features = channels * size * size
        for _ in range(3):
            layers += [nn.Linear(features, units), nn.ReLU(), nn.Dropout()]
            features = units
        self.features = nn.Sequential(*layers)
        self.scores = nn.Linear(features, DIGITS * CLASSES)

    def forward(self, image: Tensor) -> Tensor:
        return self.scores(self.features(image)).unflatten(1, (DIGITS, CLASSES))


@torch.no_grad()
def stir(model: nn.Module, by: float = 0.2) -> None:
    """Move every transformer away from the identity, as training does."""
    for module in model.modules():
        if isinstance(module, stn.SpatialTransformer):
            localisation = module.localisation
            assert isinstance(localisation, Localisation)
            bias = localisation.head.bias
            bias.add_(torch.randn_like(bias), alpha=by)
