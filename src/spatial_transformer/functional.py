"""The two functions everything else is a shell around: ``sample`` and ``warp``."""

import warnings
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from spatial_transformer.coordinates import check_size
from spatial_transformer.errors import BackendError, OptionError, ShapeError
from spatial_transformer.kernels import ops
from spatial_transformer.kernels.cpu.load import LIBRARY, WHY
from spatial_transformer.kernels.reference import sample_reference
from spatial_transformer.samplers import KERNELS, as_kernel
from spatial_transformer.samplers.check import check_batch, check_fill, check_grid, check_image
from spatial_transformer.samplers.eager import sample_eager
from spatial_transformer.samplers.kernel import Kernel
from spatial_transformer.samplers.padding import check_padding
from spatial_transformer.transforms import Transform, as_transform
from spatial_transformer.transforms.matrix import MatrixTransform

BACKENDS = ("auto", "eager", "cpu", "triton", "reference")

KernelLike = str | Kernel | Callable[[Tensor], Tensor]
Fill = float | Sequence[float] | Tensor | None


def sample(
    image: Tensor,
    grid: Tensor,
    *,
    kernel: KernelLike = "bilinear",
    padding: str = "zeros",
    fill: Fill = None,
    align_corners: bool = False,
    antialias: bool = False,
    backend: str = "auto",
) -> Tensor:
    """Read ``image`` at the points of ``grid``.

    Source: the paper's equation (3); (4) and (5) for nearest and bilinear.
    Convention: grid in normalised (x, y[, z]); -1 and 1 are the image's edges, or with
        ``align_corners=True`` the corner pixels' centres.

    Args:
        image: ``(B, C, H, W)`` or ``(B, C, D, H, W)``, floating point.
        grid: ``(B, H', W', 2)`` or ``(B, D', H', W', 3)``; its batch or the image's may be 1.
        kernel: a name of :func:`list_samplers`, a ``Kernel``, or a callable k(d) with ``support``.
        padding: zeros, fill, border, reflection, mirror or wrap.
        fill: what padding="fill" reads outside, and what any padding but zeros reads at a
            non-finite coordinate (0 if None): a number, ``(C,)`` or ``(B, C)``.
        backend: auto, eager, cpu, triton or reference.
    Returns: ``(B, C, *grid.shape[1:-1])`` in the image's dtype (coordinates and weights are
        float32 at least). A NaN or infinite coordinate reads the fill value.
    Gradient: to image, grid and fill; the right-hand derivative at whole pixels; zero at a
        non-finite coordinate.
    Raises: ShapeError, DTypeError, OptionError, UnknownNameError, BackendError.

    >>> import torch
    >>> image = torch.tensor([[[[0.0, 1.0]]]])
    >>> sample(image, torch.zeros(1, 1, 1, 2))
    tensor([[[[0.5000]]]])
    """
    chosen = as_kernel(kernel)
    check_padding(padding)
    check_image(image)
    check_grid(grid, image)
    outside = check_fill(fill, padding, image)
    if antialias:
        raise OptionError("antialias=True is not part of this version")
    use = resolve_backend(backend, image, grid, chosen, outside)
    if use == "eager":
        warped = sample_eager(image, grid, chosen, padding, outside, align_corners)
    else:
        one = sample_reference if use == "reference" else torch.ops.stn.sample_grid
        warped = one(image, grid, chosen.name, padding, outside, align_corners)
    return like_layout(warped, image)


def like_layout(warped: Tensor, image: Tensor) -> Tensor:
    """``warped`` laid out as ``image`` is: channels_last stays channels_last."""
    layout = torch.channels_last if image.dim() == 4 else torch.channels_last_3d
    if in_function_transform():  # a batched tensor does not tell its layout
        return warped
    if image.shape[1] > 1 and image.is_contiguous(memory_format=layout):
        return warped.contiguous(memory_format=layout)
    return warped


def warp(
    image: Tensor,
    theta: Tensor,
    transform: Transform | str,
    size: Sequence[int] | int | None = None,
    *,
    kernel: KernelLike = "bilinear",
    padding: str = "zeros",
    fill: Fill = None,
    align_corners: bool = False,
    antialias: bool = False,
    backend: str = "auto",
) -> Tensor:
    """Transform ``image`` by ``theta``: ``sample(image, transform.grid(theta, size))``.

    Source: the paper's equations (1) and (3).
    Convention: theta maps output to input coordinates, normalised.

    Args:
        image: ``(B, C, H, W)`` or ``(B, C, D, H, W)``, floating point.
        theta: ``(B, P)``, or ``(B, N, P)`` for N transforms of each image; its batch or the
            image's may be 1.
        transform: a ``Transform`` or a name of :func:`list_transforms`.
        size: of the output, in pixels; the input's if None.
        The others as in :func:`sample`.
    Returns: ``(B, C, *size)``; for N transforms ``(B, N, C, *size)``.
    Raises: as :func:`sample`.

    >>> import torch
    >>> image = torch.arange(4.0).reshape(1, 1, 2, 2)
    >>> warp(image, torch.tensor([[-1.0, 0.0, 0.0, 0.0, 1.0, 0.0]]), "affine")
    tensor([[[[1., 0.],
              [3., 2.]]]])
    """
    check_image(image)
    transform = as_transform(transform)
    dims = image.dim() - 2
    if transform.dims != dims:
        raise ShapeError(
            f"transform {transform.name!r} has dims={transform.dims}, "
            f"but image is {tuple(image.shape)}"
        )
    size = check_size(image.shape[2:] if size is None else size, dims)
    theta = transform.check_theta(theta)
    check_batch(image, theta, "theta")
    many = theta.shape[1] if theta.dim() == 3 else None
    if isinstance(transform, MatrixTransform) and not antialias:
        chosen = as_kernel(kernel)
        outside = check_fill(fill, check_padding(padding), image)
        if resolve_backend(backend, image, theta, chosen, outside) == "cpu":
            matrix = transform.matrix(theta)
            if matrix.shape[-2] == dims:
                return _warp_fused(image, matrix, size, chosen, padding, outside, align_corners)
    grid = transform.grid(theta, size, align_corners)
    if many:  # the N grids are stacked along the first spatial axis, so no image is copied
        grid = grid.flatten(1, 2)
    warped = sample(
        image,
        grid,
        kernel=kernel,
        padding=padding,
        fill=fill,
        align_corners=align_corners,
        antialias=antialias,
        backend=backend,
    )
    return warped.unflatten(2, (many, size[0])).movedim(2, 1) if many else warped


def _warp_fused(
    image: Tensor,
    matrix: Tensor,
    size: tuple[int, ...],
    kernel: Kernel,
    padding: str,
    fill: Tensor | None,
    align_corners: bool,
) -> Tensor:
    """The matrices straight to the output: ``(B, d, d + 1)`` or ``(B, N, d, d + 1)``."""
    many = matrix.shape[1] if matrix.dim() == 4 else None
    if many:
        batch = max(image.shape[0], matrix.shape[0])
        matrix = matrix.expand(batch, *matrix.shape[1:]).flatten(0, 1)
    options = (kernel.name, padding, fill, align_corners)
    warped = like_layout(torch.ops.stn.warp_matrix(image, matrix, size, *options), image)
    return warped.unflatten(0, (-1, many)) if many else warped


class EagerWarning(UserWarning):
    """The fused kernels are not there, so ``backend="auto"`` runs plain torch operations."""


def backend_status() -> dict[str, tuple[bool, str]]:
    """Of every backend but auto, whether it is available and why (not)."""
    return {
        "cpu": (LIBRARY is not None, WHY),
        "triton": (False, "there are no Triton kernels in this version"),
        "eager": (True, "plain torch operations, everywhere"),
        "reference": (True, "float64 oracle, slow, for tests"),
    }


def resolve_backend(
    backend: str, image: Tensor, maps: Tensor, kernel: Kernel, fill: Tensor | None
) -> str:
    """The backend that does the work: cpu, eager or reference.

    Raises: OptionError for an unknown name; BackendError where a named one is not available or
    lacks what is asked of it.
    """
    check_backend(backend)
    if backend in ("eager", "reference"):
        return backend
    lacking = ops.unsupported(image, kernel.name, fill)
    if lacking is None and in_function_transform():
        lacking = "torch.func transforms and forward-mode derivatives"
    if lacking is None and LIBRARY is None:
        _warn_once()
        return "eager"
    if lacking is not None and backend == "cpu":
        raise BackendError(f"backend='cpu' has no {lacking}: use 'auto' or 'eager'")
    return "eager" if lacking is not None else "cpu"


def check_backend(backend: str) -> None:
    """Raises: OptionError for an unknown name, BackendError saying why one is not available."""
    if backend not in BACKENDS:
        raise OptionError(f"unknown backend {backend!r}. Known: {', '.join(BACKENDS)}")
    if backend != "auto":
        available, why = backend_status()[backend]
        if not available:
            raise BackendError(f"backend={backend!r} is not available: {why}")


@cache
def _warn_once() -> None:
    warnings.warn(f"running eager: {WHY}", EagerWarning, stacklevel=4)


def in_function_transform() -> bool:
    """Whether vmap, jvp or their like are at work, which operators in C++ know nothing of."""
    if torch.compiler.is_compiling():
        return False
    functorch = torch._C._functorch.peek_interpreter_stack() is not None
    return functorch or torch.autograd.forward_ad._current_level >= 0


class Sampler(nn.Module):
    """:func:`sample` as a module: ``Sampler("bilinear", padding="border")(image, grid)``."""

    def __init__(
        self,
        kernel: KernelLike = "bilinear",
        *,
        padding: str = "zeros",
        fill: Fill = None,
        align_corners: bool = False,
        antialias: bool = False,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        self.kernel = as_kernel(kernel)
        self.padding = check_padding(padding)
        self.fill = fill
        self.align_corners = align_corners
        self.antialias = antialias
        self.backend = backend
        check_backend(backend)

    def options(self) -> dict[str, Any]:
        """The sampler arguments, as :func:`sample` and :func:`warp` take them."""
        names = ("kernel", "padding", "fill", "align_corners", "antialias", "backend")
        return {n: getattr(self, n) for n in names}

    def forward(self, image: Tensor, grid: Tensor) -> Tensor:
        return sample(image, grid, **self.options())

    def extra_repr(self) -> str:
        return ", ".join(f"{n}={v!r}" for n, v in self.options().items() if v not in (None, False))


def make_sampler(name: str, **options: Any) -> Sampler:
    """A :class:`Sampler` by its kernel's name; options of the kernel or of :func:`sample`.

    Raises: UnknownNameError (listing the names), OptionError.

    >>> make_sampler("bilinear", padding="border").padding
    'border'
    """
    shared = ("padding", "fill", "align_corners", "antialias", "backend")
    own = {k: v for k, v in options.items() if k not in shared}
    return Sampler(KERNELS.make(name, **own), **{k: v for k, v in options.items() if k in shared})
