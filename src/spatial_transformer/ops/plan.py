"""The cache of calls that have been checked, each with its bound launcher.

Checking a call takes longer than warping a small image. The key is what the checks depend on:
shapes, strides, dtypes, devices and options, never the values of tensors.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeGuard
from weakref import ref

import torch
from torch import Tensor

from spatial_transformer.coordinates import coordinate_dtype
from spatial_transformer.ops.autograd import warp_matrix
from spatial_transformer.samplers.bilinear import Bilinear
from spatial_transformer.samplers.nearest import Nearest
from spatial_transformer.transforms import Transform
from spatial_transformer.transforms.matrix import MatrixTransform

#: (image, theta) -> the warped image
Call = Callable[[Tensor, Tensor], Tensor]


class CheckedCall(NamedTuple):
    """A warp by a fused backend that has passed its checks."""

    transform: ref[Transform]
    run: Call


_CALLS: dict[Any, CheckedCall] = {}
_MOST = 256
_PLAIN_KERNELS = (Bilinear, Nearest)  # kernels without options
_SIZES = (tuple, torch.Size, int, type(None))


def lookup(
    image: Tensor,
    theta: Tensor,
    transform: object,
    size: object,
    kernel: object,
    padding: object,
    align_corners: object,
    backend: object,
) -> tuple[tuple[Any, ...] | None, Call | None]:
    """The key of a call, and the cached call for it, if any.

    The key is None where the arguments do not determine it; such calls are always checked.
    """
    if type(size) is list:
        size = tuple(size)
    if type(kernel) in _PLAIN_KERNELS:
        kernel = type(kernel)
    elif type(kernel) is not str:
        return None, None
    # 1 == True == 1.0, but they are different options
    if type(align_corners) is not bool or type(size) not in _SIZES:
        return None, None
    if isinstance(size, tuple):
        for n in size:
            if type(n) is not int:  # tensors hash by identity, not by value
                return None, None
    key = (
        *(image.shape, image.stride(), image.dtype, image.device),
        *(theta.shape, theta.stride(), theta.dtype, theta.device),
        *(id(transform), size, kernel, padding, align_corners, backend, torch.get_num_threads()),
    )
    try:
        checked = _CALLS.get(key)
    except TypeError:  # an unhashable argument
        return None, None
    # the id may be that of a transform that has been deleted
    if checked is None or checked.transform() is not transform:
        return key, None
    return key, checked.run


def store(key: tuple[Any, ...] | None, transform: Transform, run: Call) -> None:
    """Cache a checked call, unless the transform has checks of its own."""
    if key is None or type(transform).check_theta is not Transform.check_theta:
        return
    if len(_CALLS) >= _MOST:
        _CALLS.clear()
    _CALLS[key] = CheckedCall(ref(transform), run)


def is_fused(transform: Transform) -> TypeGuard[MatrixTransform]:
    """Whether the fused operators support the transform: those that are fully given by a matrix."""
    return isinstance(transform, MatrixTransform) and transform.is_its_matrix


class FusedWarp:
    """theta, ``(B, P)`` or ``(B, N, P)``, straight to the output, with an operator's options."""

    def __init__(
        self, transform: MatrixTransform, dtype: torch.dtype, options: tuple[Any, ...]
    ) -> None:
        self.transform, self.dtype, self.options = ref(transform), dtype, options

    def __call__(self, image: Tensor, theta: Tensor) -> Tensor:
        """Warp ``image`` by ``theta``."""
        return self._run(warp_matrix, image, theta)

    def bind(self, image: Tensor, theta: Tensor) -> Call:
        """The call for these tensors, past torch's dispatcher.

        It also takes other tensors of the same shapes, strides and dtypes.
        """
        options, matrix = self.options, self._matrix(image, theta)
        launch = warp_matrix.bind(image, matrix, options)
        if matrix is theta:
            return lambda image, theta: warp_matrix.direct(launch, image, theta, *options)
        return partial(self._run, partial(warp_matrix.direct, launch))

    def _run(self, operator: Callable[..., Tensor], image: Tensor, theta: Tensor) -> Tensor:
        warped = operator(image, self._matrix(image, theta), *self.options)
        return warped if theta.dim() == 2 else warped.unflatten(0, (-1, theta.shape[1]))

    def _matrix(self, image: Tensor, theta: Tensor) -> Tensor:
        transform = self.transform()
        assert transform is not None
        if theta.dtype is not self.dtype:
            theta = theta.to(coordinate_dtype(theta)).to(self.dtype)
        matrix = transform.matrix_for_kernels(theta)
        if theta.dim() == 3:
            batch = max(image.shape[0], matrix.shape[0])
            matrix = matrix.expand(batch, *matrix.shape[1:]).flatten(0, 1)
        return matrix
