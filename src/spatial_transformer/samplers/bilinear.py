"""Bilinear (trilinear in 3-D): the hat function."""

from torch import Tensor

from spatial_transformer.samplers.kernel import Kernel


class Bilinear(Kernel):
    """The hat function, k(d) = max(0, 1 - abs(d)).

    Note:
        Source: the paper's equation (5).
        Gradient: equations (6) and (7). At a whole pixel, where (7) read literally gives U[x], it
        is the right-hand derivative U[x + 1] - U[x], that of the cell to the right.
    """

    name = "bilinear"
    support = 1.0
    order = 2

    def __call__(self, d: Tensor) -> Tensor:
        """k(d), elementwise."""
        return (1 - d.abs()).clamp(min=0)

    def weights(self, t: Tensor) -> list[Tensor]:
        """The weight of each tap at the fraction ``t``; as ``Kernel.weights``."""
        return [1 - t, t]
