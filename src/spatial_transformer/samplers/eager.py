"""The sampler in plain torch operations: any kernel, any padding, any dimension, any device.

It is what everything else falls back to, so it is written to be differentiated twice, traced,
vmapped and compiled: no in-place writes, no branch on a tensor's values.
"""

import torch
from torch import Tensor

from spatial_transformer.coordinates import coordinate_dtype, snap_tolerance, to_pixel
from spatial_transformer.samplers.kernel import Kernel
from spatial_transformer.samplers.padding import Edge, edge

# one axis: for each tap its index, whether it is inside (None: always), and its weight
Taps = list[tuple[Tensor, Tensor | None, Tensor]]


def axis_taps(u: Tensor, kernel: Kernel, rule: Edge) -> Taps:
    """The taps of pixel coordinates ``u`` (finite) along one axis."""
    tolerance = snap_tolerance(rule.n, u.dtype)
    base = torch.floor(u.detach() + (kernel.shift + tolerance))
    t = u - base
    # a coordinate that rounding alone keeps from a whole pixel is that pixel
    t = t - torch.where(t.detach().abs() <= tolerance, t.detach(), 0)
    whole = rule.whole(base)
    weights = kernel.weights(t)
    return [(*rule.index(whole + j), w) for j, w in zip(kernel.offsets, weights, strict=True)]


def sample_eager(
    image: Tensor,
    grid: Tensor,
    kernel: Kernel,
    padding: str,
    fill: Tensor | None,
    align_corners: bool,
) -> Tensor:
    """Equation (3); arguments are checked already. ``fill`` is ``(1 or B, C, 1)`` or None."""
    dims = grid.shape[-1]
    original = image.shape[2:]
    result = image.dtype
    margin = kernel.margin(padding)
    image = kernel.prepare(image, padding, fill, align_corners)
    spatial = image.shape[2:]
    batch = max(image.shape[0], grid.shape[0])
    dtype = coordinate_dtype(image, grid)
    points = grid.to(dtype).flatten(1, -2)  # (B, M, dims)

    pixels = [
        to_pixel(points[..., k], original[-1 - k], align_corners) + margin for k in range(dims)
    ]
    finite = torch.isfinite(torch.stack(pixels)).all(dim=0)
    # a non-finite coordinate must reach neither the index nor, multiplied by zero, the gradient
    pixels = [torch.where(finite, u, 0) for u in pixels]
    reach = kernel.taps
    taps = [
        axis_taps(u, kernel, edge(padding, spatial[-1 - k], reach, align_corners))
        for k, u in enumerate(pixels)
    ]

    flat = image.flatten(2)
    channels = image.shape[1]
    flat = flat.expand(batch, -1, -1)
    outside = fill if fill is not None else torch.zeros((), dtype=image.dtype, device=image.device)

    def read(index: Tensor, inside: Tensor | None) -> Tensor:
        index = index.unsqueeze(1).expand(batch, channels, -1)
        value = flat.gather(2, index)
        return value if inside is None else torch.where(inside.unsqueeze(1), value, outside)

    def weigh(axis: int, index: Tensor | None, inside: Tensor | None) -> Tensor:
        """Sum over the taps of this axis and of those inside it (z over y over x)."""
        total = None
        for i, ok, w in taps[axis]:
            flat_index = i if index is None else index * spatial[-1 - axis] + i
            both = ok if inside is None else inside if ok is None else inside & ok
            value = weigh(axis - 1, flat_index, both) if axis else read(flat_index, both)
            term = value * w.unsqueeze(1)
            total = term if total is None else total + term
        assert total is not None
        return total

    warped = weigh(dims - 1, None, None)
    warped = torch.where(finite.unsqueeze(1), warped, outside.to(dtype))
    return warped.to(result).unflatten(2, grid.shape[1:-1])
