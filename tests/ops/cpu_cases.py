"""Calls of the C++ backend, and what others make of them."""

import torch

import spatial_transformer as stn

SHAPES = [  # batch, channels, input, output
    (2, 1, (1, 1), (3, 3)),
    (1, 3, (5, 123), (17, 300)),
    (3, 2, (7, 3), (1, 1)),
    (1, 33, (8, 9), (10, 11)),
    (4, 1, (28, 28), (42, 42)),
]


# Planes that are large against the output are read in place; the others from padded copies.
IN_PLACE = [
    (1, 2, (40, 33), (20, 21)),
    (1, 1, (33, 40), (3, 700)),
    (1, 2, (90, 91), (5, 300)),
    (3, 2, (50, 1), (2, 3)),
    (3, 2, (1, 50), (1, 1)),
]


DEEP = [
    (2, 1, (1, 1, 1), (2, 3, 3)),
    (1, 2, (3, 4, 5), (6, 5, 7)),
    (2, 9, (4, 3, 2), (3, 3, 9)),
    (1, 1, (20, 21, 22), (3, 4, 5)),  # in place
]


def family_of(shape):
    return stn.Affine(dims=len(shape[2]))


def case(shape, dtype=torch.float32, spread=0.5):
    batch, channels, size, out = shape
    image = torch.rand(batch, channels, *size, dtype=dtype)
    identity = family_of(shape).identity().to(dtype)
    theta = identity + spread * torch.randn(batch, len(identity), dtype=dtype)
    return image, theta, out


def fill_for(padding, channels):
    return torch.linspace(-1, 1, channels) if padding == "fill" else None


def results(image, theta, size, backend, transform="affine", **options):
    """Output and gradients to image and theta."""
    image, theta = image.detach().requires_grad_(), theta.detach().requires_grad_()
    out = stn.warp(image, theta, transform, size, backend=backend, **options)
    weight = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).reshape(out.shape)
    return out, *torch.autograd.grad((out * weight).sum(), (image, theta))


def assert_equal(ours, others, tolerance):
    for a, b in zip(ours, others, strict=True):
        scale = max(1.0, b.abs().max().item())
        torch.testing.assert_close(a, b, rtol=0, atol=tolerance * scale)


LARGE = [  # those of the benchmark
    (4, 1, (60, 60), (30, 30)),
    (2, 48, (32, 32), (32, 32)),
    (1, 3, (448, 448), (224, 224)),
    (1, 3, (512, 512), (512, 512)),
    (1, 1, (48, 48, 48), (48, 48, 48)),
]
