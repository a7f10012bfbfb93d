"""Gradients of the C++ backend."""

import math

import pytest
import torch
from tests.ops.cpu_cases import SHAPES, case, results

import spatial_transformer as stn
from spatial_transformer.ops.cpu import load
from spatial_transformer.samplers.padding import PADDINGS

pytestmark = pytest.mark.skipif(load.LIBRARY is None, reason=f"no C++ backend: {load.WHY}")


@pytest.mark.slow
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("align_corners", [False, True])
def test_gradcheck_and_gradgradcheck(padding, align_corners):
    image, theta, _ = case((2, 2, (4, 5), (3, 3)), torch.float64, spread=0.2)
    image.requires_grad_()
    theta.requires_grad_()
    fill = None if padding != "fill" else [0.5, -1.0]

    def warp(image, theta):
        return stn.warp(
            image, theta, "affine", (3, 3),
            padding=padding, align_corners=align_corners, fill=fill, backend="cpu",
        )  # fmt: skip

    tight = {"eps": 1e-6, "atol": 1e-7, "rtol": 1e-6}
    assert torch.autograd.gradcheck(warp, (image, theta), **tight)
    assert torch.autograd.gradgradcheck(warp, (image, theta), **tight)


@pytest.mark.slow
@pytest.mark.parametrize("batches", [(2, 2), (1, 2), (2, 1)], ids=str)
@pytest.mark.parametrize("fills", [None, 1, 2])
def test_gradgradcheck_of_several_transforms_of_an_image(batches, fills):
    images, thetas = batches
    torch.manual_seed(0)
    image = torch.rand(images, 2, 3, 2, dtype=torch.float64, requires_grad=True)
    theta = torch.randn(thetas, 2, 6, dtype=torch.float64) * 0.2 + stn.Affine().identity()
    theta.requires_grad_()
    options = {} if fills is None else {"padding": "fill", "fill": torch.rand(fills, 2).double()}

    def warp(image, theta):
        return stn.warp(image, theta, "affine", (2, 2), backend="cpu", **options)

    tight = {"eps": 1e-6, "atol": 1e-7, "rtol": 1e-6}
    assert torch.autograd.gradgradcheck(warp, (image, theta), **tight)


def test_only_the_gradients_asked_for_are_computed():
    image, theta, out = case(SHAPES[4])
    theta.requires_grad_()
    stn.warp(image, theta, "affine", out, backend="cpu").sum().backward()
    assert image.grad is None
    whole = results(image, theta, out, "cpu")
    weight = torch.linspace(-1, 1, whole[0].numel()).reshape(whole[0].shape)
    warped = stn.warp(image, theta, "affine", out, backend="cpu")
    (alone,) = torch.autograd.grad((warped * weight).sum(), theta)
    assert torch.equal(alone, whole[2])


@pytest.mark.parametrize("channels", [1, 3, 9])
@pytest.mark.parametrize("size", [(8, 8), (300, 301), (5, 6, 7)], ids=str)
@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e300])
def test_theta_that_is_not_finite_has_gradient_zero_whatever_comes_back(channels, size, bad):
    image = torch.rand(2, channels, *size, dtype=torch.float64)
    transform = stn.Affine(dims=len(size))
    theta = transform.identity().double().repeat(2, 1)
    theta[0, 0] = bad
    found = {}
    for backend in ("cpu", "eager"):
        leaf = theta.clone().requires_grad_()
        out = stn.warp(image, leaf, transform, (4,) * len(size), backend=backend)
        grad = torch.ones_like(out)
        grad[0].view(-1)[::3] = math.inf
        found[backend] = torch.autograd.grad(out, leaf, grad)[0]
    if bad != 1e300:
        assert not found["cpu"][0].any()
    torch.testing.assert_close(found["cpu"][1], found["eager"][1], rtol=1e-9, atol=1e-9)


def test_pixels_behind_the_camera_have_gradient_zero_whatever_comes_back():
    image = torch.rand(1, 1, 8, 8, dtype=torch.float64)
    theta = torch.tensor([[1.0, 0, 0, 0, 1, 0, 0, 1.5]], dtype=torch.float64)
    for backend in ("cpu", "eager"):
        leaf = theta.clone().requires_grad_()
        out = stn.warp(image, leaf, "projective", backend=backend)
        grad = torch.zeros_like(out)
        grad[0, 0, 0] = math.inf  # all of this row is behind it
        (found,) = torch.autograd.grad(out, leaf, grad)
        assert not found.any(), backend
