"""Export of a classifier: its scores and, with a transformer, the warped image and theta."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from spatial_transformer.export.onnx import export_module
from spatial_transformer.modules.classifier import Transformed


class Traceable(nn.Module):
    """A transformed classifier with all its outputs: (scores, warped, theta)."""

    def __init__(self, model: Transformed) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Images ``(B, C, *spatial)`` to scores, warped images and theta."""
        return self.model(image, return_warped=True)


class Scores(nn.Module):
    """A classifier without a transformer: scores alone."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> Tensor:
        """Images ``(B, C, *spatial)`` to scores ``(B, classes)``."""
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
    """Write a classifier as ``.onnx`` or ``.pt2``, checked on ``images`` and at other batch sizes.

    Its input is ``image``; its outputs are ``scores`` and, with a transformer, ``warped`` and
    ``theta``.

    Args:
        model: A ``Transformed`` or a plain classifier.
        path: The file, ending in .onnx or .pt2.
        images: ``(B, *in_shape)``, 2 or more, of the kind that it is trained on.
        metadata: Stored in an ONNX file.
        opset: As for ``export_module``.
        grid_sample: As for ``export_module``.

    Returns:
        The largest difference found.

    Raises:
        ExportError: If the model cannot be exported, or its exported form gives other results.
        OptionError: If an option is invalid, or a package is not installed.
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
