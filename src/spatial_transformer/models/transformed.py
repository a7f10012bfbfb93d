"""A classifier that looks through a spatial transformer."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from spatial_transformer.modules.spatial_transformer import SpatialTransformer


class Independent(nn.Module):
    """N localisation networks that share nothing, for :class:`Parallel`.

    Source: the paper's appendix A.1, 2xST-FCN.
    Image ``(B, C, H, W)`` -> theta ``(B, N, P)``.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, image: Tensor) -> Tensor:
        return torch.stack([network(image) for network in self.networks], dim=1)


class Project(nn.Module):
    """The mean of a volume along its depth: ``(B, C, D, H, W)`` -> ``(B, C, H, W)``."""

    def forward(self, volume: Tensor) -> Tensor:
        return volume.mean(2)


class Transformed(nn.Module):
    """A spatial transformer on the input, then a classifier: the paper's ST-FCN and ST-CNN.

    Returns (forward): logits ``(B, classes)``; with ``return_warped`` also what the classifier
    saw, ``(B, C, *size)``, and theta ``(B, P)``.
    """

    def __init__(self, transformer: SpatialTransformer, classifier: nn.Module) -> None:
        super().__init__()
        self.transformer = transformer
        self.classifier = classifier

    def forward(
        self, image: Tensor, return_warped: bool = False
    ) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        warped, theta = self.transformer(image, return_theta=True)
        logits = self.classifier(warped)
        return (logits, warped, theta) if return_warped else logits
