"""Predictions of a trained network: scores, warped images and theta."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from spatial_transformer.evaluating import evaluating
from spatial_transformer.modules.classifier import Transformed
from spatial_transformer.modules.spatial_transformer import SpatialTransformer


@dataclass(frozen=True)
class Prediction:
    """The outputs for a batch of images, with N transforms an image.

    Attributes:
        scores: ``(B, classes)``, of a sequence ``(B, T, classes)``; None for a transformer without
            a classifier.
        warped: ``(B, N, C, *size)``; None for a classifier without a transformer.
        theta: ``(B, N, P)``; None for a classifier without a transformer.
    """

    scores: Tensor | None
    warped: Tensor | None
    theta: Tensor | None


def find_transformer(model: nn.Module) -> SpatialTransformer | None:
    """The transformer that is applied to the images themselves; None without one."""
    if isinstance(model, Transformed):
        return model.transformer
    return model if isinstance(model, SpatialTransformer) else None


@torch.no_grad()
def predict(model: nn.Module, images: Tensor) -> Prediction:
    """Run a model on images in evaluation mode, without gradients.

    Args:
        model: A ``Transformed``, a ``SpatialTransformer`` or a plain classifier.
        images: ``(B, C, *spatial)``.

    Examples:
        >>> layer = SpatialTransformer("fully_connected", "affine", 4)
        >>> prediction = predict(layer, torch.zeros(3, 1, 8, 8))
        >>> prediction.scores is None, tuple(prediction.warped.shape), tuple(prediction.theta.shape)
        (True, (3, 1, 1, 4, 4), (3, 1, 6))
    """
    images = images.to(next(model.parameters(), images).dtype)
    scores = warped = theta = None
    with evaluating(model):
        if isinstance(model, Transformed):
            scores, warped, theta = model(images, return_warped=True)
        elif isinstance(model, SpatialTransformer):
            warped, theta = model(images, return_theta=True)
        else:
            scores = model(images)
    if warped is None or theta is None:
        return Prediction(scores, None, None)
    transforms = theta.shape[1] if theta.dim() == 3 else 1
    channels = images.shape[1]
    views = warped.reshape(len(images), transforms, channels, *warped.shape[-(images.dim() - 2) :])
    return Prediction(scores, views.float(), theta.reshape(len(images), transforms, -1).float())
