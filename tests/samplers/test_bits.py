"""Results are the same bits whatever the number of threads, in plain torch operations as well."""

import pytest
import torch

import spatial_transformer as stn

KERNELS = ["bilinear", "bicubic", "lanczos", "bspline2", "bspline3", "bspline4", "bspline5"]
FAMILIES = ["thin_plate_spline", "bspline", "piecewise_affine", "displacement", "diffeomorphic"]


@pytest.fixture
def at_threads():
    before = torch.get_num_threads()

    def run(function):
        found = []
        for count in (1, 2, 3, 7):
            torch.set_num_threads(count)
            found.append(function())
        return found

    yield run
    torch.set_num_threads(before)


def step(image, theta, transform, **options):
    """Output and gradients; sums that are not ours are kept out."""
    image, theta = image.clone().requires_grad_(), theta.clone().requires_grad_()
    out = stn.warp(image, theta, transform, **options)
    gradient = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).reshape(out.shape)
    return (out.detach(), *torch.autograd.grad(out, (image, theta), gradient))


def assert_same(found):
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(other, found[0], strict=True))


@pytest.mark.parametrize("padding", ["zeros", "reflection"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_kernels(at_threads, kernel, padding):
    image = torch.rand(2, 3, 130, 150)
    theta = stn.Affine().identity() + 0.2 * torch.randn(2, 6)
    options = {"kernel": kernel, "padding": padding, "backend": "eager"}
    assert_same(at_threads(lambda: step(image, theta, "affine", **options)))


def test_volumes_and_antialiasing(at_threads):
    image = torch.rand(1, 2, 24, 30, 28)
    theta = stn.Affine(dims=3).identity()[None] + 0.1
    options = {"kernel": "bicubic", "backend": "eager"}
    assert_same(at_threads(lambda: step(image, theta, stn.Affine(dims=3), **options)))
    image, theta = torch.rand(1, 3, 200, 210), torch.tensor([[1.0, 0.1, 0, 0, 1, 0]])
    options = {"antialias": True, "size": (40, 50)}
    assert_same(at_threads(lambda: step(image, theta, "affine", **options)))


@pytest.mark.parametrize("family", FAMILIES)
def test_families(at_threads, family):
    transform = stn.make_transform(family)
    image = torch.rand(2, 3, 130, 150)
    theta = transform.identity() + 0.05 * torch.randn(2, transform.num_params)
    assert_same(at_threads(lambda: step(image, theta, transform)))
