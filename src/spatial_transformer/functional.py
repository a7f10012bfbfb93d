"""``sample`` and ``warp``, the functions that everything else is built on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypedDict

import torch
from torch import Tensor, nn

from spatial_transformer.coordinates import (
    check_flag,
    check_size,
    coordinate_dtype,
    precise_dtype,
)
from spatial_transformer.errors import DTypeError, ShapeError
from spatial_transformer.names import BackendName, KernelName, PaddingName, TransformName
from spatial_transformer.ops import plan
from spatial_transformer.ops.autograd import sample_grid
from spatial_transformer.ops.backend import BACKENDS, check_backend, resolve_backend
from spatial_transformer.ops.layout import layout_of
from spatial_transformer.ops.reference import sample_reference
from spatial_transformer.ops.torch_internals import in_function_transform, needs_dispatcher
from spatial_transformer.samplers import KERNELS, as_kernel
from spatial_transformer.samplers.antialias import check_points, footprints, sample_antialiased
from spatial_transformer.samplers.check import (
    check_batch,
    check_fill,
    check_fill_option,
    check_grid,
    check_image,
)
from spatial_transformer.samplers.eager import sample_eager
from spatial_transformer.samplers.kernel import Kernel
from spatial_transformer.samplers.padding import check_padding
from spatial_transformer.transforms import SHARED, Transform, as_transform

KernelLike = KernelName | Kernel | Callable[[Tensor], Tensor]
Fill = float | Sequence[float] | Tensor | None


class SamplerOptions(TypedDict, total=False):
    """The sampler arguments of ``sample``, as ``**options``."""

    kernel: KernelLike
    padding: PaddingName
    fill: Fill
    align_corners: bool
    antialias: bool | int
    backend: BackendName


def sample(
    image: Tensor,
    grid: Tensor,
    *,
    kernel: KernelLike = "bilinear",
    padding: PaddingName = "zeros",
    fill: Fill = None,
    align_corners: bool = False,
    antialias: bool | int = False,
    backend: BackendName = "auto",
) -> Tensor:
    """Sample ``image`` at the points of ``grid``.

    Args:
        image: ``(B, C, H, W)`` or ``(B, C, D, H, W)``, floating point; with kernel="nearest", which
            copies values, of any dtype.
        grid: ``(B, H', W', 2)`` or ``(B, D', H', W', 3)``, normalised; its batch or the image's may
            be 1.
        kernel: A name of ``list_samplers``, a ``Kernel``, or a callable k(d) with ``support``.
        padding: zeros, fill, border, reflection, mirror or wrap.
        fill: The value that padding="fill" reads outside, and that any padding but zeros reads at a
            non-finite coordinate (0 if None): a number, ``(C,)`` or ``(B, C)``. NaN or infinity
            reach every pixel whose taps include it, at weight 0 too (except for nearest).
        align_corners: Whether -1 and 1 are the corner pixels' centres rather than the image's
            edges.
        antialias: Average over every output pixel's footprint on the image, which the grid's
            Jacobian gives; a number is that many points an axis (required by ``torch.compile``).
        backend: auto, eager, cpu, triton or reference.

    Returns:
        ``(B, C, *grid.shape[1:-1])`` in the image's dtype (coordinates and weights are float32 at
        least). A NaN or infinite coordinate reads the fill value.

    Raises:
        ShapeError: If image, grid or fill has another shape, or their batches do not fit.
        DTypeError: If a dtype is not supported, or tensors are on different devices.
        OptionError: If an option has an invalid value or contradicts another.
        UnknownNameError: If the kernel's name is not registered.
        BackendError: If the named backend is not available or does not support the call.

    Note:
        Source: the paper's equation (3); (4) and (5) for nearest and bilinear.
        Coordinates: grid in normalised (x, y[, z]); -1 and 1 are the image's edges, or with
        ``align_corners=True`` the corner pixels' centres.
        Gradient: to image, grid and fill; the right-hand derivative at whole pixels; zero at a
        non-finite coordinate.

    Examples:
        >>> import torch
        >>> image = torch.tensor([[[[0.0, 1.0]]]])
        >>> sample(image, torch.zeros(1, 1, 1, 2))
        tensor([[[[0.5000]]]])
    """
    options = check_options(image, kernel, padding, fill, align_corners, backend)
    check_grid(grid, image, options.fill)
    if antialias is False or is_empty(image, grid):
        return _sample(image, grid, options)
    steps = footprints(grid)
    return _sample_antialiased(image, grid, steps, options, antialias)


@dataclass(frozen=True)
class Options:
    """The sampler arguments, checked."""

    kernel: Kernel
    padding: str
    fill: Tensor | None  # (1 or B, C, 1)
    align_corners: bool
    backend: str

    def for_operator(self, backend: str) -> tuple[Any, ...]:
        """The arguments in the order of the fused operators."""
        return (self.kernel.name, self.padding, self.fill, self.align_corners, backend)


def check_options(
    image: Tensor,
    kernel: KernelLike,
    padding: str,
    fill: Fill,
    align_corners: bool,
    backend: str,
) -> Options:
    """Check the arguments that ``sample`` and ``warp`` share; errors as for ``sample``."""
    chosen = as_kernel(kernel)
    check_padding(padding)
    check_flag("align_corners", align_corners)
    check_image(image, integers=chosen.copies)
    check_backend(backend)
    return Options(chosen, padding, check_fill(fill, padding, image), align_corners, backend)


def _sample(image: Tensor, grid: Tensor, o: Options) -> Tensor:
    use = resolve_backend(o.backend, image, o.kernel, o.fill)
    if use in BACKENDS and not is_empty(image, grid):
        return sample_grid(image, grid, *o.for_operator(use))
    options = (o.padding, o.fill, o.align_corners)
    if use == "reference" and not is_empty(image, grid):
        warped = sample_reference(image, grid, o.kernel.name, *options)
    else:
        warped = sample_eager(image, grid, o.kernel, *options)
    return like_layout(warped, image)


def _sample_antialiased(
    image: Tensor, grid: Tensor, steps: Sequence[Tensor], o: Options, antialias: bool | int
) -> Tensor:
    if not image.is_floating_point():
        raise DTypeError(f"antialias averages: image must be floating point, got {image.dtype}")
    points = None if antialias is True else check_points(antialias)
    wide = coordinate_dtype(image)  # sums of many values need more than half precision
    fill = None if o.fill is None else o.fill.to(wide)
    averaged = sample_antialiased(
        *(image.to(wide), grid, steps, o.align_corners, points, fill),
        lambda image, points, level: _sample(image, points, replace(o, fill=level)),
    )
    return averaged.to(image.dtype)


def like_layout(warped: Tensor, image: Tensor) -> Tensor:
    """``warped`` in the memory format of ``image``: channels_last stays channels_last."""
    if in_function_transform():  # batched tensors do not expose their layout
        return warped
    return warped.contiguous(memory_format=layout_of(image))


def warp(
    image: Tensor,
    theta: Tensor,
    transform: Transform | TransformName,
    size: Sequence[int] | int | None = None,
    *,
    kernel: KernelLike = "bilinear",
    padding: PaddingName = "zeros",
    fill: Fill = None,
    align_corners: bool = False,
    antialias: bool | int = False,
    backend: BackendName = "auto",
) -> Tensor:
    """Transform ``image`` by ``theta``: ``sample(image, transform.grid(theta, size))``.

    Args:
        image: ``(B, C, H, W)`` or ``(B, C, D, H, W)``, floating point.
        theta: ``(B, P)``, or ``(B, N, P)`` for N transforms of each image; its batch or the image's
            may be 1.
        transform: A ``Transform`` or a name of ``list_transforms``.
        size: Size of the output, in pixels; the input's if None.
        kernel: As for ``sample``.
        padding: As for ``sample``.
        fill: As for ``sample``.
        align_corners: As for ``sample``.
        antialias: As for ``sample``.
        backend: As for ``sample``.

    Returns:
        ``(B, C, *size)``; for N transforms ``(B, N, C, *size)``.

    Raises:
        ShapeError: If image, theta, size or fill has another shape, or their batches do not fit.
        DTypeError: If a dtype is not supported, or tensors are on different devices.
        OptionError: If an option has an invalid value or contradicts another.
        UnknownNameError: If the name of the transform or of the kernel is not registered.
        BackendError: If the named backend is not available or does not support the call.

    Note:
        Source: the paper's equations (1) and (3).
        Coordinates: theta maps output to input coordinates, normalised.

    Examples:
        >>> import torch
        >>> image = torch.arange(4.0).reshape(1, 1, 2, 2)
        >>> warp(image, torch.tensor([[-1.0, 0.0, 0.0, 0.0, 1.0, 0.0]]), "affine")
        tensor([[[[1., 0.],
                  [3., 2.]]]])
    """
    if isinstance(transform, str):
        transform = SHARED.get(transform, transform)
    key = None
    if antialias is False and fill is None and not needs_dispatcher(image, theta):
        key, run = plan.lookup(
            image, theta, transform, size, kernel, padding, align_corners, backend
        )
        if run is not None:
            return run(image, theta)
    transform = as_transform(transform)
    options = check_options(image, kernel, padding, fill, align_corners, backend)
    check_dims(image, transform)
    size = check_size(image.shape[2:] if size is None else size, transform.dims, least=0)
    theta = transform.check_theta(theta)
    check_batch(image, theta, "theta", options.fill)
    many = theta.shape[1] if theta.dim() == 3 else None
    if is_empty(image, theta) or 0 in size:
        antialias = False
    elif plan.is_fused(transform) and antialias is False:
        use = resolve_backend(backend, image, options.kernel, options.fill)
        if use in BACKENDS:
            # which pixel is copied does not depend on the image
            dtype = coordinate_dtype(theta if options.kernel.copies else image, theta)
            fused = plan.FusedWarp(transform, dtype, (size, *options.for_operator(use)))
            if key is not None:
                plan.store(key, transform, fused.bind(image, theta))
            return fused(image, theta)
    if options.kernel.copies:  # which pixel is copied must not depend on the grid's rounding
        theta = theta.to(precise_dtype(theta.device))
    else:  # in the image's precision
        theta = theta.to(coordinate_dtype(image, theta))
    grid = transform.grid(theta, size, align_corners)
    if antialias is not False:
        steps = _footprints(transform, theta, grid, size, align_corners)
        if many is None:
            return _sample_antialiased(image, grid, steps, options, antialias)
        outputs = [
            _sample_antialiased(image, grid[:, n], [s[:, n] for s in steps], options, antialias)
            for n in range(many)
        ]
        return torch.stack(outputs, dim=1)
    if many is None:
        return _sample(image, grid, options)
    # the N grids are stacked along the first spatial axis, so no image is copied
    warped = _sample(image, grid.flatten(1, 2), options)
    return warped.unflatten(2, (many, size[0])).movedim(2, 1)


def is_empty(image: Tensor, maps: Tensor) -> bool:
    """Whether there is nothing to sample, or nowhere: the result is empty, and has a graph."""
    return 0 in image.shape or 0 in maps.shape


def check_dims(image: Tensor, transform: Transform) -> None:
    """Check that a transform is for images of this dimension.

    Raises:
        ShapeError: If the image is not ``(B, C, *spatial)`` with the transform's number of
            dimensions.
    """
    if image.dim() - 2 != transform.dims:
        raise ShapeError(
            f"transform {transform.name!r} has dims={transform.dims}, "
            f"but image is {tuple(image.shape)}"
        )


def _footprints(
    transform: Transform, theta: Tensor, grid: Tensor, size: tuple[int, ...], align_corners: bool
) -> list[Tensor]:
    """The steps of a transform's grid, including those along axes of one pixel."""
    flat = grid.flatten(0, -transform.dims - 2)
    steps = footprints(flat)
    for axis, n in enumerate(size):
        if n == 1:  # the only pixel along this axis: the step is from edge to edge
            ends = transform.grid(theta, [2 if k == axis else m for k, m in enumerate(size)], True)
            ends = ends.flatten(0, -transform.dims - 2)
            step = ends.narrow(axis + 1, 1, 1) - ends.narrow(axis + 1, 0, 1)
            steps[axis] = torch.where(torch.isfinite(step), step, 0)
    return [s.unflatten(0, grid.shape[: -transform.dims - 1]) for s in steps]


class Sampler(nn.Module):
    """``sample`` as a module: ``Sampler("bilinear", padding="border")(image, grid)``.

    Args:
        kernel: As for ``sample``; a kernel that is a module is trained with this one.
        padding: As for ``sample``.
        fill: As for ``sample``.
        align_corners: As for ``sample``.
        antialias: As for ``sample``.
        backend: As for ``sample``.

    Raises:
        OptionError: If an option has an invalid value or contradicts another.
        UnknownNameError: If the kernel's name is not registered.
        BackendError: If the named backend is not available.
    """

    def __init__(
        self,
        kernel: KernelLike = "bilinear",
        *,
        padding: PaddingName = "zeros",
        fill: Fill = None,
        align_corners: bool = False,
        antialias: bool | int = False,
        backend: BackendName = "auto",
    ) -> None:
        super().__init__()
        self.kernel = as_kernel(kernel)
        if isinstance(kernel, nn.Module) and not isinstance(kernel, Kernel):
            self.weigher = kernel  # a trainable kernel: its parameters are this module's too
        self.padding = check_padding(padding)
        check_flag("align_corners", align_corners)
        self.fill = fill
        self.align_corners = align_corners
        self.antialias = antialias
        self.backend: BackendName = backend
        check_backend(backend)
        check_fill_option(fill, padding)
        if antialias is not True and antialias is not False:
            check_points(antialias)

    def options(self) -> SamplerOptions:
        """The sampler arguments, by name, for ``sample`` and ``warp``."""
        return {
            "kernel": self.kernel,
            "padding": self.padding,
            "fill": self.fill,
            "align_corners": self.align_corners,
            "antialias": self.antialias,
            "backend": self.backend,
        }

    if TYPE_CHECKING:

        def __call__(self, image: Tensor, grid: Tensor) -> Tensor:
            """As ``forward``."""

    def forward(self, image: Tensor, grid: Tensor) -> Tensor:
        """``sample(image, grid)`` with the module's options; shapes and errors as there."""
        return sample(image, grid, **self.options())

    def extra_repr(self) -> str:
        """The options shown by ``repr``."""
        options = {n: v for n, v in self.options().items() if v is not None and v is not False}
        return ", ".join(f"{n}={v!r}" for n, v in options.items())


def make_sampler(name: KernelName, **options: Any) -> Sampler:
    """A ``Sampler`` by its kernel's name; options are the kernel's or those of ``sample``.

    Args:
        name: A name of ``list_samplers``.
        **options: Arguments of the kernel and of ``Sampler``.

    Raises:
        UnknownNameError: If the name is not registered; the message lists the names.
        OptionError: If an option does not exist or has an invalid value.

    Examples:
        >>> make_sampler("bilinear", padding="border").padding
        'border'
    """
    shared = ("padding", "fill", "align_corners", "antialias", "backend")
    own = {k: v for k, v in options.items() if k not in shared}
    return Sampler(KERNELS.make(name, **own), **{k: v for k, v in options.items() if k in shared})
