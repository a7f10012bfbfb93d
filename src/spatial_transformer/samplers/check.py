"""The checks of images, grids and fill values."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spatial_transformer.coordinates import is_concrete, shared_batch
from spatial_transformer.errors import DTypeError, OptionError, ShapeError


def is_exporting() -> bool:
    """Whether a graph is traced by torch.export or torch.jit.trace, rather than by torch.compile.

    Such graphs are run by processes without our operators.
    """
    if torch.jit.is_tracing():
        return True
    return torch.compiler.is_compiling() and not torch.compiler.is_dynamo_compiling()


def check_image(image: Tensor, *, integers: bool = False) -> Tensor:
    """Check that an image is ``(B, C, H, W)`` or ``(B, C, D, H, W)`` and not empty.

    It must be floating point, unless ``integers`` allows other dtypes.

    Raises:
        ShapeError: If it has another rank or no pixels.
        DTypeError: If it is not a tensor, is complex, or is not floating point.
    """
    if not isinstance(image, Tensor):
        raise DTypeError(f"image must be a tensor, got {type(image).__name__}")
    if image.dim() not in (4, 5):
        raise ShapeError(
            f"image must be (B, C, H, W) or (B, C, D, H, W), got {tuple(image.shape)}"
            + (" (add a batch dimension: image[None])" if image.dim() == 3 else "")
        )
    if 0 in image.shape[2:]:
        raise ShapeError(f"image {tuple(image.shape)} has no pixels, there is nothing to sample")
    if image.is_complex() or (not image.is_floating_point() and not integers):
        raise DTypeError(
            f"image must be floating point, got {image.dtype}: convert it with image.float() "
            "(kernel='nearest' takes integer images as they are)"
        )
    return image


def check_grid(grid: Tensor, image: Tensor, fill: Tensor | None = None) -> Tensor:
    """Check that a grid is ``(B, H', W', 2)`` or ``(B, D', H', W', 3)`` and fits the image.

    Raises:
        ShapeError: If its shape or its batch does not fit the image.
        DTypeError: If it is not a floating-point tensor on the image's device.
    """
    if not isinstance(grid, Tensor):
        raise DTypeError(f"grid must be a tensor, got {type(grid).__name__}")
    dims = image.dim() - 2
    wanted = "(B, H', W', 2)" if dims == 2 else "(B, D', H', W', 3)"
    if grid.dim() != dims + 2 or grid.shape[-1] != dims:
        raise ShapeError(
            f"grid must be {wanted} for an image of shape {tuple(image.shape)}, "
            f"got {tuple(grid.shape)}"
        )
    if not grid.is_floating_point():
        raise DTypeError(f"grid must be floating point, got {grid.dtype}")
    check_batch(image, grid, "grid", fill)
    return grid


def check_batch(image: Tensor, other: Tensor, name: str, fill: Tensor | None = None) -> None:
    """Check that batches are equal, or one of them 1, and devices the same.

    Args:
        image: ``(B, C, *spatial)``.
        other: A tensor with a batch dimension.
        name: What ``other`` is called in messages.
        fill: Fill values as returned by ``check_fill``, or None.

    Raises:
        ShapeError: If the batches differ and none is 1.
        DTypeError: If the devices differ.
    """
    if image.shape[0] != other.shape[0] and 1 not in (image.shape[0], other.shape[0]):
        raise ShapeError(
            f"image {tuple(image.shape)} and {name} {tuple(other.shape)} differ in batch: "
            f"{image.shape[0]} against {other.shape[0]} (equal, or one of them 1, would do)"
        )
    if image.device != other.device:
        raise DTypeError(f"image is on {image.device} but {name} on {other.device}")
    batch = shared_batch(image.shape[0], other.shape[0])
    if fill is not None and fill.shape[0] not in (1, batch):
        raise ShapeError(
            f"fill {tuple(fill.shape[:2])} differs in batch from image {tuple(image.shape)} and "
            f"{name} {tuple(other.shape)}: {fill.shape[0]} against {batch} (equal or 1 would do)"
        )


def check_fill_option(fill: object, padding: str) -> None:
    """Check that fill value and padding agree.

    Raises:
        OptionError: If padding="fill" has no fill value, or padding="zeros" has one.
    """
    if padding == "fill" and fill is None:
        raise OptionError("padding='fill' needs fill=: a number, or one per channel")
    if padding == "zeros" and fill is not None:
        raise OptionError(
            f"fill={fill!r} contradicts padding='zeros': say padding='fill' to read it outside"
        )


def _holds(dtype: torch.dtype, fill: Any) -> bool:
    """Whether a dtype can represent the numbers; those of a floating dtype are rounded to it.

    A tensor whose values are not available is assumed to fit.
    """
    if isinstance(fill, Tensor):
        if fill.is_complex():
            raise TypeError("complex numbers have no order")
        if dtype.is_floating_point or not is_concrete(fill):
            return True
        return torch.equal(fill.to(dtype).to(fill.dtype), fill)
    if isinstance(fill, np.ndarray):
        fill = fill.tolist()
    if isinstance(fill, Sequence) and not isinstance(fill, str):
        return all(_holds(dtype, number) for number in fill)
    number = float(fill)
    if dtype.is_floating_point:
        return not math.isfinite(number) or abs(number) <= torch.finfo(dtype).max
    low, high = (0, 1) if dtype is torch.bool else (torch.iinfo(dtype).min, torch.iinfo(dtype).max)
    return math.isfinite(number) and low <= fill <= high and fill == int(fill)


def check_fill(
    fill: float | Sequence[float] | Tensor | None, padding: str, image: Tensor
) -> Tensor | None:
    """The fill value as ``(1 or B, C, 1)`` in the image's dtype; None means zero.

    Raises:
        OptionError: If it contradicts the padding or is not a value of the image's dtype.
        ShapeError: If it is not a number, ``(C,)`` or ``(B, C)``.
    """
    check_fill_option(fill, padding)
    if fill is None:
        return None
    try:
        held = _holds(image.dtype, fill)
        values = torch.as_tensor(fill, device=image.device, dtype=image.dtype) if held else None
    except (TypeError, ValueError, RuntimeError) as error:
        raise OptionError(f"fill must be a number, or one per channel, got {fill!r}") from error
    if values is None:
        raise OptionError(f"fill={fill!r} is not a value of an image of {image.dtype}")
    channels = image.shape[1]
    if values.dim() > 2 or (values.dim() and values.shape[-1] not in (1, channels)):
        raise ShapeError(
            f"fill must be a number, (C,) or (B, C) for an image of {channels} channels, "
            f"got shape {tuple(values.shape)}"
        )
    values = values.reshape(-1, values.shape[-1] if values.dim() else 1)
    return values.expand(-1, channels).unsqueeze(-1)
