"""A trained classifier as a module to export: its scores and, behind a transformer, what it saw."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from spatial_transformer.export.onnx import export_module
from spatial_transformer.modules.classifier import Transformed


class Traceable(nn.Module):
    """A transformed classifier with all it has to say: (scores, warped, theta)."""

    def __init__(self, model: Transformed) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.model(image, return_warped=True)


class Scores(nn.Module):
    """A classifier without a transformer: scores alone."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> Tensor:
        return self.model(image)


def export_network(
    model: nn.Module,
    path: str | Path,
    images: Tensor,
    *,
    metadata: Mapping[str, str] | None = None,
    opset: int | None = None,
    grid_sample: bool = True,
) -> float:
    """Write a classifier as ``.onnx`` or ``.pt2``, checked on ``images``, in batches of their
    number and of others.

    Its input is ``image``; its outputs are ``scores`` and, with a transformer, ``warped`` and
    ``theta``.

    Args:
        images: ``(B, *in_shape)``, 2 or more, of the kind that it is trained on.
        metadata: kept in an ONNX file.
        opset, grid_sample: as :func:`export_module`.
    Returns: the largest difference found.
    Raises: as :func:`export_module`.
    """
    module: nn.Module
    if isinstance(model, Transformed):
        module, names = Traceable(model), ["scores", "warped", "theta"]
    else:
        module, names = Scores(model), ["scores"]
    return export_module(
        module, path, [images], outputs=names, metadata=metadata, opset=opset,
        grid_sample=grid_sample,
    )  # fmt: skip
