"""Export of a single warp, (image, theta) -> image."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from spatial_transformer.errors import ExportError
from spatial_transformer.export.check import Dynamic
from spatial_transformer.export.onnx import export_module
from spatial_transformer.functional import Sampler, warp
from spatial_transformer.transforms import Transform, as_transform

#: of the examples that a warp is traced with, in pixels
EXAMPLE_SIZE = {2: (28, 28), 3: (12, 14, 16)}

AXES = {2: ("height", "width"), 3: ("depth", "height", "width")}


class Warp(nn.Module):
    """``spatial_transformer.warp`` as a module.

    Args:
        transform: A ``Transform`` or a name of ``list_transforms``.
        size: Size of the output, in pixels; the input's if None.
        **options: Options of the sampler, as for ``warp``.

    Examples:
        >>> Warp("affine", padding="border")(torch.rand(2, 1, 8, 8), torch.zeros(2, 6)).shape
        torch.Size([2, 1, 8, 8])
    """

    def __init__(
        self, transform: Transform | str, size: Sequence[int] | int | None = None, **options: Any
    ) -> None:
        super().__init__()
        self.transform = as_transform(transform)
        self.size = size
        self.sampler = Sampler(**options)

    def forward(self, image: Tensor, theta: Tensor) -> Tensor:
        """``warp(image, theta)`` with the module's transform, size and options."""
        return warp(image, theta, self.transform, self.size, **self.sampler.options())


def export_warp(
    module: Warp,
    path: str | Path,
    *,
    images: Tensor | None = None,
    fixed_size: bool = False,
    opset: int | None = None,
    grid_sample: bool = True,
) -> float:
    """Write a warp as ``.onnx`` or ``.pt2``, checked on images and random transformations.

    Batch, channels and size are dynamic, and checked at sizes other than the images'; antialiased
    warps are for one output size.

    Args:
        module: The warp.
        path: The file, ending in .onnx or .pt2.
        images: ``(B, C, H, W)`` to trace and check with, a batch of 2 or more; random ones if None.
        fixed_size: Accept images of that size only; channels and batch are still dynamic.
        opset: As for ``export_module``.
        grid_sample: As for ``export_module``.

    Returns:
        The largest difference found.

    Raises:
        ExportError: If an antialiased warp has no fixed size, or the warp cannot be exported or
            gives other results.
        OptionError: If an option is invalid, or a package is not installed.
    """
    averaged = not isinstance(module.sampler.antialias, bool)
    if averaged and module.size is None and not fixed_size:
        raise ExportError(
            "an antialiased warp is exported for one output size: give Warp its size=, or export "
            "it with fixed_size=True"
        )
    dims = module.transform.dims
    source = torch.Generator().manual_seed(0)
    if images is None:
        images = torch.rand(4, 2, *EXAMPLE_SIZE[dims], generator=source)
    if images.shape[1] == 1:
        images = images.repeat(1, 2, *(1,) * dims)  # a size of 1 is a constant to torch.export
    axes: dict[int, str] = {0: "batch", 1: "channels"}
    if not fixed_size:
        axes |= dict(enumerate(AXES[dims], 2))
    dynamic: Dynamic = {"image": axes, "theta": {0: "batch"}}
    inputs, gray = (
        (batch, _thetas(module.transform, len(images), source)) for batch in (images, images[:, :1])
    )
    return export_module(
        module, path, inputs, dynamic=dynamic, outputs=["warped"], more=[gray], opset=opset,
        grid_sample=grid_sample,
    )  # fmt: skip


def _thetas(transform: Transform, count: int, source: torch.Generator) -> Tensor:
    """Random thetas near the identity."""
    return transform.identity() + 0.1 * torch.randn(count, transform.num_params, generator=source)
