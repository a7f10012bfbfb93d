"""Linearised multi-sampling: gradients to the grid from a wider neighbourhood."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from spatial_transformer.coordinates import coordinate_dtype, half_extent
from spatial_transformer.errors import OptionError
from spatial_transformer.sums import broadcast


def linearised_sample(
    image: Tensor,
    grid: Tensor,
    sample: Callable[[Tensor, Tensor], Tensor],
    *,
    radius: float = 2.0,
    points: int = 8,
    align_corners: bool = False,
) -> Tensor:
    """``sample(image, grid)`` with gradients to the grid from a wider neighbourhood.

    The gradient is the slope of a plane fitted to the values at ``points`` places around each
    point, evenly around two rings, at ``radius`` and half of it, rather than that of one pixel
    cell.

    Args:
        image: ``(B, C, H, W)``.
        grid: ``(B, H', W', 2)``, normalised.
        sample: Any sampler of (image, grid).
        radius: In input pixels; large for a wide basin of attraction, small for exactness.
        points: How many places, an even number of 6 or more.
        align_corners: Whether -1 and 1 are the corner pixels' centres.

    Returns:
        ``(B, C, H', W')``: the value of ``sample(image, grid)``.

    Raises:
        OptionError: If ``points`` or ``radius`` is out of range, or the image is not 4-D.

    Note:
        Source: Jiang et al. 2019, "Linearized Multi-Sampling for Differentiable Image
        Transformation".
        Gradient: to the image that of ``sample``; to the grid that of the fitted plane, zero where
        a coordinate is not finite.
    """
    if points < 6 or points % 2 or radius <= 0:
        raise OptionError(
            "linearised sampling needs an even number of points >= 6 and a radius > 0"
        )
    if image.dim() != 4:
        raise OptionError(f"linearised sampling is for (B, C, H, W), got {tuple(image.shape)}")
    value = sample(image, grid.detach())
    dtype = coordinate_dtype(image, grid)
    half = torch.tensor(
        [half_extent(image.shape[3], align_corners), half_extent(image.shape[2], align_corners)],
        dtype=dtype,
        device=grid.device,
    ).clamp(min=0.5)
    ring = points // 2
    with torch.no_grad():
        slope = torch.zeros((), dtype=dtype, device=grid.device)
        norm = 0.0
        for i in range(points):
            angle = 2 * math.pi * ((i % ring) / ring + (i >= ring) / points)
            length = radius if i < ring else radius / 2
            offset = torch.tensor([math.cos(angle), math.sin(angle)], dtype=dtype) * length
            offset = offset.to(grid.device)
            around = sample(image, grid.detach().to(dtype) + offset / half).to(dtype)
            # the rings are symmetric: least squares for the slope is sum(o v) / sum(o_x^2)
            slope = slope + around.unsqueeze(-1) * offset
            norm += length**2 / 2
        slope = slope / norm * half
        finite = torch.isfinite(grid).all(dim=-1)[:, None, ..., None]
        slope = torch.where(finite, slope, 0)
    step = grid.to(dtype) - grid.detach().to(dtype)  # zero, with the gradient of the grid
    step = torch.where(torch.isfinite(step), step, 0)
    slope, step = broadcast(slope, step.unsqueeze(1))
    return value + (slope * step).sum(-1).to(value.dtype)
