"""Small modules that networks of the experiments are made of."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Independent(nn.Module):
    """N localisation networks that share nothing, for ``Parallel``.

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
