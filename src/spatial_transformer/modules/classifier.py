"""A classifier with a spatial transformer on its input."""

from typing import TYPE_CHECKING, Literal, overload

from torch import Tensor, nn

from spatial_transformer.modules.spatial_transformer import SpatialTransformer


class Transformed(nn.Module):
    """A spatial transformer on the input, then a classifier: the paper's ST-FCN and ST-CNN.

    Args:
        transformer: The spatial transformer.
        classifier: A module from the transformer's output to logits ``(B, classes)``.
    """

    def __init__(self, transformer: SpatialTransformer, classifier: nn.Module) -> None:
        super().__init__()
        self.transformer = transformer
        self.classifier = classifier

    def forward(
        self, image: Tensor, return_warped: bool = False
    ) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        """Images ``(B, C, *spatial)`` to logits ``(B, classes)``.

        Args:
            image: ``(B, C, *spatial)``.
            return_warped: Return the classifier's input and theta as well.

        Returns:
            Logits ``(B, classes)``; with ``return_warped`` also the warped image ``(B, C, *size)``
            and theta ``(B, P)``.
        """
        warped, theta = self.transformer(image, return_theta=True)
        logits = self.classifier(warped)
        return (logits, warped, theta) if return_warped else logits

    if TYPE_CHECKING:

        @overload
        def __call__(self, image: Tensor, return_warped: Literal[False] = False) -> Tensor: ...
        @overload
        def __call__(
            self, image: Tensor, return_warped: Literal[True]
        ) -> tuple[Tensor, Tensor, Tensor]: ...
        @overload
        def __call__(
            self, image: Tensor, return_warped: bool
        ) -> Tensor | tuple[Tensor, Tensor, Tensor]: ...
        def __call__(
            self, image: Tensor, return_warped: bool = False
        ) -> Tensor | tuple[Tensor, Tensor, Tensor]:
            """As ``forward``."""
