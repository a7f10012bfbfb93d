"""Local contrast normalisation of photographs."""

import torch
from torch import Tensor

from spatial_transformer.coordinates import full_precision

#: pixels of the window's side, and the standard deviation of its Gaussian, in pixels
WINDOW, SIGMA = 7, 7 / 4
#: standard deviations below it are noise, of images in [0, 1]
FLOOR = 1e-3


def _smooth(image: Tensor) -> Tensor:
    """The Gaussian mean around each pixel, of what of the window lies inside the image."""
    for axis in (-2, -1):
        place = torch.arange(image.shape[axis], device=image.device, dtype=image.dtype)
        apart = place - place[:, None]
        weight = torch.exp(-((apart / SIGMA) ** 2) / 2) * (apart.abs() <= WINDOW // 2)
        weight = weight / weight.sum(1, keepdim=True)
        image = weight @ image if axis == -2 else image @ weight.mT
    return image


def local_contrast(images: Tensor) -> Tensor:
    """Images without their local mean, divided by their local standard deviation.

    Mean and deviation are Gaussian-weighted over 7x7 pixels and over all channels together, so that
    what channels differ by, the colour, is kept. Deviations below the image's mean deviation are
    replaced by it: flat regions stay flat. Brightness and contrast of a whole image change
    nothing, so they need no normalisation of their own.

    Args:
        images: ``(B, C, H, W)`` in [0, 1].

    Returns:
        ``(B, C, H, W)``, in float32 under autocast too: half precision would take its differences
        of nearly equal numbers for zero.

    Note:
        Source: Jarrett et al., "What is the best multi-stage architecture for object recognition?"
        (2009); the window is that of gtsrb.torch. It is differentiable.

    Examples:
        >>> photograph = torch.rand(1, 3, 32, 32)
        >>> darker = 0.3 * photograph + 0.1
        >>> torch.allclose(local_contrast(photograph), local_contrast(darker), atol=1e-4)
        True
    """
    with full_precision(images.device):
        centred = images - _smooth(images.mean(1, keepdim=True))
        variance = _smooth((centred**2).mean(1, keepdim=True))
        deviation = variance.clamp_min(FLOOR**2).sqrt()
        return centred / torch.maximum(deviation, deviation.mean((-2, -1), keepdim=True))
