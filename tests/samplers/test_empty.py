"""Nothing in, nothing out: empty results of the right shape, with a graph, as torch's are."""

import pytest
import torch

import spatial_transformer as stn
from spatial_transformer.errors import ShapeError

FAMILIES = [n for n in stn.list_transforms() if n not in ("compose", "bounded")]
KERNELS = ["nearest", "bilinear", "bicubic", "bspline3", "lanczos"]


def shapes(dims):
    """Image, lead of theta, size of the output."""
    size = (5, 6, 4)[:dims]
    return [
        ((0, 3, *size), (0,), (4, 3, 2)[:dims]),
        ((1, 3, *size), (0,), None),
        ((0, 3, *size), (1,), None),
        ((2, 3, *size), (2, 0), (4, 3, 2)[:dims]),
        ((2, 0, *size), (2,), None),
        ((2, 3, *size), (2,), (0, 4, 2)[:dims]),
        ((2, 3, *size), (2, 3), (4, 0, 2)[:dims]),
    ]


@pytest.mark.parametrize("backend", ["auto", "eager", "cpu", "reference"])
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("dims", [2, 3])
def test_kernels(dims, kernel, backend):
    if backend == "reference" and kernel not in KERNELS[:2]:
        pytest.skip("the oracle has two kernels")
    if backend == "cpu" and (kernel in KERNELS[3:] or (dims == 3 and kernel == "bicubic")):
        pytest.skip("not fused")
    for shape, lead, size in shapes(dims):
        for antialias in (False, True):
            check(stn.Affine(dims=dims), shape, lead, size, kernel, antialias, backend)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("family", FAMILIES)
def test_transforms(family, dims):
    try:
        transform = stn.make_transform(family, dims=dims)
    except stn.SpatialTransformerError:
        pytest.skip(f"{family} has no {dims}-D")
    for shape, lead, size in shapes(dims):
        check(transform, shape, lead, size, "bilinear", False, "auto")
    none = torch.zeros(0, transform.num_params)
    assert transform.points(none, torch.zeros(0, 7, dims)).shape == (0, 7, dims)


def check(transform, shape, lead, size, kernel, antialias, backend):
    image = torch.rand(shape, requires_grad=True)
    theta = torch.zeros(*lead, transform.num_params, requires_grad=True)
    options = {"kernel": kernel, "antialias": antialias, "backend": backend}
    out = stn.warp(image, theta, transform, size, **options)
    batch = lead[0] if shape[0] == 1 else shape[0]
    assert out.shape == (batch, *lead[1:], shape[1], *(size or shape[2:]))
    gradients = torch.autograd.grad(out.sum(), (image, theta))
    assert not any(g.any() for g in gradients)


def test_grids_of_ones_own():
    image = torch.rand(2, 3, 5, 6, requires_grad=True)
    for grid in (torch.zeros(2, 0, 7, 2), torch.zeros(2, 7, 0, 2)):
        out = stn.sample(image, grid)
        assert out.shape == (2, 3, *grid.shape[1:3])
        assert torch.equal(torch.autograd.grad(out.sum(), image)[0], torch.zeros_like(image))
    labels = torch.zeros(0, 1, 5, 6, dtype=torch.uint8)
    assert stn.sample(labels, torch.zeros(1, 2, 2, 2), kernel="nearest").dtype == torch.uint8


@pytest.mark.parametrize("compiled", [False, True])
def test_layers(compiled):
    layer = stn.SpatialTransformer("convolutional", "affine", (8, 8))
    layer(torch.rand(2, 1, 28, 28))
    run = torch.compile(layer, backend="eager") if compiled else layer
    assert run(torch.rand(0, 1, 28, 28)).shape == (0, 1, 8, 8)
    parallel = stn.Parallel("fully_connected", "attention", 4, count=2)
    parallel(torch.rand(3, 1, 8, 8))
    assert parallel(torch.rand(0, 1, 8, 8)).shape == (0, 2, 4, 4)
    cascade = stn.Cascade(["fully_connected", "fully_connected"], "affine", (8, 8))
    cascade(torch.rand(2, 1, 8, 8))
    assert cascade(torch.rand(0, 1, 8, 8)).shape == (0, 1, 8, 8)


def test_what_has_no_pixels_is_still_refused():
    with pytest.raises(ShapeError, match=r"image \(2, 3, 0, 5\) has no pixels"):
        stn.warp(torch.rand(2, 3, 0, 5), torch.zeros(2, 2), "translation")
    with pytest.raises(ShapeError, match="differ in batch: 0 against 2"):
        stn.warp(torch.rand(0, 3, 4, 5), torch.zeros(2, 2), "translation")
    with pytest.raises(ShapeError, match="none of them negative"):
        stn.warp(torch.rand(1, 3, 4, 5), torch.zeros(1, 2), "translation", (-1, 4))
