"""Nearest: the value of the nearest pixel."""

from torch import Tensor

from spatial_transformer.samplers.kernel import Kernel


class Nearest(Kernel):
    """The value of the nearest pixel, floor(u + 1/2), copied as it is, of any dtype.

    Note:
        Source: the paper's equation (4). A coordinate half-way takes the pixel to the right (torch
        rounds half to even instead); ``coordinates.nearest_pixel`` defines half-way.
        Gradient: to the image; to the grid it is zero almost everywhere, and returned as zero.
    """

    name = "nearest"
    support = 0.5
    order = 1
    copies = True

    def __call__(self, d: Tensor) -> Tensor:
        """k(d), elementwise."""
        return ((d >= -0.5) & (d < 0.5)).to(d.dtype)

    def weights(self, t: Tensor) -> list[Tensor]:
        """The weight of each tap at the fraction ``t``; as ``Kernel.weights``."""
        return [0 * t + 1]  # keeps the grid in the graph: its gradient is zero, not missing
