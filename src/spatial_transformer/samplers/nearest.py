"""Nearest: the value of the nearest pixel."""

from torch import Tensor

from spatial_transformer.samplers.kernel import Kernel


class Nearest(Kernel):
    """k picks the pixel floor(u + 1/2), and copies its value, of any dtype.

    Source: the paper's equation (4). A coordinate half-way takes the pixel to the right (torch
    rounds half to even instead); see :func:`~spatial_transformer.coordinates.nearest_pixel` for
    what is half-way.
    Gradient: to the image; to the grid it is zero almost everywhere, and returned as zero.
    """

    name = "nearest"
    support = 0.5
    order = 1
    copies = True

    def __call__(self, d: Tensor) -> Tensor:
        return ((d >= -0.5) & (d < 0.5)).to(d.dtype)

    def weights(self, t: Tensor) -> list[Tensor]:
        return [0 * t + 1]  # keeps the grid in the graph: its gradient is zero, not missing
