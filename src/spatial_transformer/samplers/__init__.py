"""Samplers, (image, grid) -> image: one interpolation kernel a file, and their registry."""

from functools import partial
from typing import Any, cast

from spatial_transformer.names import KernelName
from spatial_transformer.registry import Registry
from spatial_transformer.samplers.bicubic import Bicubic
from spatial_transformer.samplers.bilinear import Bilinear
from spatial_transformer.samplers.bspline import BSpline
from spatial_transformer.samplers.kernel import Kernel as Kernel
from spatial_transformer.samplers.kernel import from_callable
from spatial_transformer.samplers.lanczos import Lanczos
from spatial_transformer.samplers.nearest import Nearest

KERNELS: Registry[Kernel] = Registry("kernel")
for _kernel in (Nearest, Bilinear, Bicubic, Lanczos):
    KERNELS.add(_kernel.name, _kernel)
for _order in range(6):
    KERNELS.add(f"bspline{_order}", partial(BSpline, _order))


#: an instance of each with its defaults; kernels are stateless
_NAMED = {name: KERNELS.make(name) for name in KERNELS.names()}


def list_samplers() -> tuple[KernelName, ...]:
    """The kernel names that ``sample``, ``warp`` and ``make_sampler`` know."""
    return cast("tuple[KernelName, ...]", KERNELS.names())


def as_kernel(kernel: Any) -> Kernel:
    """A kernel given as itself, by name, or as a callable with a ``support``.

    Raises:
        UnknownNameError: If the name is not registered.
        OptionError: If it is neither a name, a ``Kernel`` nor a callable with a ``support``.
    """
    if isinstance(kernel, Kernel):
        return kernel
    if isinstance(kernel, str):
        return _NAMED.get(kernel) or KERNELS.make(kernel)
    return from_callable(kernel)
