"""Lanczos: a windowed sinc."""

import torch
from torch import Tensor

from spatial_transformer.errors import OptionError
from spatial_transformer.samplers.kernel import Kernel
from spatial_transformer.sums import total


class Lanczos(Kernel):
    """The windowed sinc with ``a`` lobes.

    k(d) = sinc(d) sinc(d / a) for abs(d) < a; a point's weights are scaled to sum to one, without
    which a constant image would not stay constant.

    Args:
        a: The number of lobes, 2 or more.

    Raises:
        OptionError: If ``a`` is not an int of 2 or more.

    Note:
        Source: Duchon 1979, through the paper's equation (3).
    """

    name = "lanczos"
    order = 1  # linear functions are not reproduced

    def __init__(self, a: int = 3) -> None:
        if not isinstance(a, int) or a < 2:
            raise OptionError(f"lanczos needs a whole number of lobes a >= 2, got {a!r}")
        self.a = a
        self.support = float(a)

    def __call__(self, d: Tensor) -> Tensor:
        """k(d) before the weights are scaled, elementwise."""
        return torch.where(d.abs() < self.a, torch.sinc(d) * torch.sinc(d / self.a), 0)

    def weights(self, t: Tensor) -> list[Tensor]:
        """The weight of each tap at the fraction ``t``; as ``Kernel.weights``."""
        # sin(pi (t - j)) = +-sin(pi t): taken once, it is exactly zero at whole pixels
        sine = torch.sin(torch.pi * t)
        raw = []
        for j in self.offsets:
            d = t - j
            lobe = sine * (1 - 2 * (j % 2)) / (torch.pi * torch.where(d == 0, 1, d))
            raw.append(torch.where(d == 0, torch.sinc(d), lobe) * torch.sinc(d / self.a))
        added = total(torch.stack(raw), 0)
        return [w / added for w in raw]
