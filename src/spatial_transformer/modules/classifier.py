"""A classifier that looks through a spatial transformer."""

from torch import Tensor, nn

from spatial_transformer.modules.spatial_transformer import SpatialTransformer


class Transformed(nn.Module):
    """A spatial transformer on the input, then a classifier: the paper's ST-FCN and ST-CNN.

    Returns (forward): logits ``(B, classes)``; with ``return_warped`` also what the classifier
    saw, ``(B, C, *size)``, and theta ``(B, P)``.
    """

    def __init__(self, transformer: SpatialTransformer, classifier: nn.Module) -> None:
        super().__init__()
        self.transformer = transformer
        self.classifier = classifier

    def forward(
        self, image: Tensor, return_warped: bool = False
    ) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        warped, theta = self.transformer(image, return_theta=True)
        logits = self.classifier(warped)
        return (logits, warped, theta) if return_warped else logits
