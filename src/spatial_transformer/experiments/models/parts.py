"""Small modules of the experiments' networks."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Independent(nn.Module):
    """N localisation networks without shared weights, for ``Parallel``.

    Note:
        Source: the paper's appendix A.1, 2xST-FCN.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, image: Tensor) -> Tensor:
        """Images ``(B, C, H, W)`` to theta ``(B, N, P)``."""
        return torch.stack([network(image) for network in self.networks], dim=1)


class Project(nn.Module):
    """The mean of a volume along its depth."""

    def forward(self, volume: Tensor) -> Tensor:
        """Volumes ``(B, C, D, H, W)`` to images ``(B, C, H, W)``."""
        return volume.mean(2)
