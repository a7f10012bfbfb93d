"""Properties of whole warps, by Hypothesis: composition, inverse, on smooth images."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import spatial_transformer as stn

small = st.floats(-0.15, 0.15)


def smooth(n=96):
    """A sum of slow waves that is smooth up to its edges."""
    u = (2 * torch.arange(n, dtype=torch.float64) + 1) / n - 1
    x, y = u[None, :], u[:, None]
    return (torch.sin(2 * x + 1) + torch.cos(2.5 * y) + torch.sin(x - 2 * y))[None, None]


def inner(image, margin=34):
    return image[..., margin:-margin, margin:-margin]


def thetas(transform, values):
    spread = torch.tensor([values[: transform.num_params]], dtype=torch.float64)
    return transform.identity().double() + spread


MATRICES = ["translation", "attention", "rigid", "similarity", "affine", "projective"]


@pytest.mark.parametrize("name", MATRICES)
@settings(max_examples=25, deadline=None)
@given(a=st.lists(small, min_size=8, max_size=8), b=st.lists(small, min_size=8, max_size=8))
def test_one_warp_by_the_composition_is_two_warps(name, a, b):
    t = stn.make_transform(name)
    a, b = thetas(t, a) * 1.0, thetas(t, b) * 1.0
    options = {"kernel": "bspline5", "padding": "border"}
    image = smooth()
    twice = stn.warp(stn.warp(image, a, t, **options), b, t, **options)
    once = stn.warp(image, t.compose(a, b), t, **options)
    torch.testing.assert_close(inner(once), inner(twice), rtol=0, atol=2e-4)


@pytest.mark.parametrize("name", MATRICES)
@settings(max_examples=25, deadline=None)
@given(a=st.lists(small, min_size=8, max_size=8))
def test_the_inverse_undoes_a_warp(name, a):
    t = stn.make_transform(name)
    theta = thetas(t, a)
    options = {"kernel": "bspline5", "padding": "border"}
    image = smooth()
    back = stn.warp(stn.warp(image, theta, t, **options), t.inverse(theta), t, **options)
    torch.testing.assert_close(inner(back), inner(image), rtol=0, atol=2e-4)


@settings(max_examples=25, deadline=None)
@given(angle=st.floats(-0.5, 0.5), seed=st.integers(0, 99))
def test_a_diffeomorphism_and_its_inverse(angle, seed):
    t = stn.make_transform("diffeomorphic", steps=9)
    source = torch.Generator().manual_seed(seed)
    theta = angle * 0.2 * torch.randn(1, t.num_params, generator=source, dtype=torch.float64)
    options = {"kernel": "bspline3", "padding": "border"}
    image = smooth()
    back = stn.warp(stn.warp(image, theta, t, **options), t.inverse(theta), t, **options)
    torch.testing.assert_close(inner(back), inner(image), rtol=0, atol=2e-3)


@settings(max_examples=30, deadline=None)
@given(
    name=st.sampled_from(stn.list_transforms()),
    kernel=st.sampled_from(["nearest", "bilinear", "bicubic", "lanczos", "bspline3"]),
    seed=st.integers(0, 99),
)
def test_a_batch_is_its_members(name, kernel, seed):
    t = stn.make_transform(name)
    source = torch.Generator().manual_seed(seed)
    theta = t.identity() + 0.1 * torch.randn(3, t.num_params, generator=source)
    image = torch.rand(3, 2, 6, 7, generator=source)
    whole = stn.warp(image, theta, t, (5, 4), kernel=kernel)
    for b in range(3):
        alone = stn.warp(image[b : b + 1], theta[b : b + 1], t, (5, 4), kernel=kernel)
        torch.testing.assert_close(whole[b : b + 1], alone, rtol=0, atol=1e-5)


def test_a_window_shows_what_lies_at_the_same_normalised_place():
    """The convention in one sentence: output (x, y) shows input A (x, y, 1)."""
    image = smooth(256)
    theta = torch.tensor([[0.5, 0.1, 0.2, -0.1, 0.4, -0.3]], dtype=torch.float64)
    warped = stn.warp(image, theta, "affine", (9, 11), kernel="bspline5", padding="border")
    for i, j in ((0, 0), (4, 5), (8, 10), (2, 7)):
        x, y = (2 * j + 1) / 11 - 1, (2 * i + 1) / 9 - 1
        u, v = 0.5 * x + 0.1 * y + 0.2, -0.1 * x + 0.4 * y - 0.3
        exact = math.sin(2 * u + 1) + math.cos(2.5 * v) + math.sin(u - 2 * v)
        assert warped[0, 0, i, j].item() == pytest.approx(exact, abs=1e-6)
