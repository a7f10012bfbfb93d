"""Calls alike need not be checked again, which takes longer than to warp a small image."""

from typing import Any, NamedTuple
from weakref import ref

import torch
from torch import Tensor

from spatial_transformer.samplers.bilinear import Bilinear
from spatial_transformer.samplers.nearest import Nearest
from spatial_transformer.transforms import Transform


class Checked(NamedTuple):
    """What the checks of a warp by fused kernels came to."""

    transform: ref[Transform]
    dtype: torch.dtype  # of the matrix
    options: tuple[Any, ...]  # as the operator takes them


_CHECKED: dict[Any, Checked] = {}
_MOST = 256
_UNCHANGING = (Bilinear, Nearest)  # kernels without options
_SIZES = (tuple, torch.Size, int, type(None))


def what_alike_calls_share(
    image: Tensor,
    theta: Tensor,
    transform: object,
    size: object,
    kernel: object,
    padding: object,
    align_corners: object,
    backend: object,
) -> tuple[Any, ...] | None:
    """All that the checks look at, of tensors in memory; None where it cannot be told."""
    if type(size) is list:
        size = tuple(size)
    if type(kernel) in _UNCHANGING:
        kernel = type(kernel)
    elif type(kernel) is not str:
        return None
    # 1 is equal to True and to 1.0, and not the same
    if type(align_corners) is not bool or type(size) not in _SIZES:
        return None
    if isinstance(size, tuple) and any(type(n) is not int for n in size):
        return None  # a tensor is hashed as an object, whatever it holds
    alike = (
        *(image.shape, image.dtype, image.device, theta.shape, theta.dtype, theta.device),
        *(id(transform), size, kernel, padding, align_corners, backend),
    )
    try:
        hash(alike)
    except TypeError:
        return None
    return alike


def found(alike: tuple[Any, ...] | None, transform: object) -> Checked | None:
    """What the checks of such a call came to, if there has been one."""
    checked = _CHECKED.get(alike)
    # an identity may be that of a transform that is no more
    return checked if checked is not None and checked.transform() is transform else None


def remember(
    alike: tuple[Any, ...] | None, transform: Transform, dtype: torch.dtype, options: Any
) -> None:
    """That the checks of such a call came to this; but for transforms with checks of their own."""
    if alike is None or type(transform).check_theta is not Transform.check_theta:
        return
    if len(_CHECKED) >= _MOST:
        _CHECKED.clear()
    _CHECKED[alike] = Checked(ref(transform), dtype, options)
