"""Local contrast normalisation against SciPy's filters."""

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from spatial_transformer.experiments.models.normalise import FLOOR, SIGMA, local_contrast


def smooth(image):
    """Of what of the window lies inside the image."""
    options = {"sigma": SIGMA, "radius": 3, "mode": "constant"}
    return gaussian_filter(image, **options) / gaussian_filter(np.ones_like(image), **options)


def by_scipy(image):
    """``(C, H, W)``, float64."""
    centred = image - smooth(image.mean(0))
    deviation = np.sqrt(np.maximum(smooth((centred**2).mean(0)), FLOOR**2))
    return centred / np.maximum(deviation, deviation.mean())


def test_it_is_scipys():
    images = torch.rand(3, 3, 17, 32, dtype=torch.double) * torch.tensor([1, 0.1, 0.01]).view(
        3, 1, 1, 1
    )
    expected = np.stack([by_scipy(image.numpy()) for image in images])
    np.testing.assert_allclose(local_contrast(images).numpy(), expected, atol=1e-9)
    np.testing.assert_allclose(local_contrast(images.float()).numpy(), expected, atol=2e-3)


def test_colour_is_kept():
    """A flat red region differs from a flat grey one, at an edge of brightness or away from it."""
    red = torch.tensor([0.8, 0.2, 0.2]).view(3, 1, 1).expand(3, 16, 16)
    normalised = local_contrast(red[None])[0]
    assert (normalised[0] > 1).all()
    assert torch.equal(normalised[1], normalised[2])


def test_flat_images_have_finite_gradients():
    image = torch.full((1, 3, 9, 9), 0.3, requires_grad=True)
    normalised = local_contrast(image)
    assert normalised.abs().max() < 1e-3
    (gradient,) = torch.autograd.grad(normalised.square().sum() + normalised[0, 0, 4, 4], image)
    assert gradient.isfinite().all()
    pixels = torch.rand(1, 2, 4, 5, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(local_contrast, pixels)


def test_autocast_does_not_make_it_coarse():
    image = 0.02 + 0.02 * torch.rand(1, 3, 32, 32)
    with torch.autocast("cpu", torch.bfloat16):
        inside = local_contrast(image)
    assert torch.equal(inside, local_contrast(image))
