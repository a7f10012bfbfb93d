"""One compiled graph for images of any size."""

import pytest
import torch
from torch._dynamo.testing import CompileCounter

import spatial_transformer as stn

FAMILIES = ["affine", "thin_plate_spline", "bspline", "piecewise_affine", "diffeomorphic"]
#: the prefilter's paddings, and its orders; they are independent of each other
CASES = [
    *(("bilinear", padding) for padding in ("zeros", "border", "wrap", "reflection")),
    *(("bspline3", padding) for padding in ("zeros", "border", "wrap", "reflection")),
    *((f"bspline{order}", "zeros") for order in (2, 4, 5)),
]
SIZES = [(9 + 3 * k, 31 - 2 * k) for k in range(12)]


def graphs(function, sizes=SIZES):
    """How many graphs it takes; results are compared with those of eager."""
    torch.compiler.reset()
    counter = CompileCounter()
    compiled = torch.compile(function, backend=counter, dynamic=True, fullgraph=True)
    for size in sizes:
        image = torch.rand(2, 1, *size)
        torch.testing.assert_close(compiled(image), function(image), rtol=0, atol=1e-5)
    return counter.frame_count


@pytest.mark.parametrize("family", FAMILIES)
def test_families(family):
    transform = stn.make_transform(family)
    theta = transform.identity() + 0.02 * torch.randn(2, transform.num_params)
    assert graphs(lambda image: stn.warp(image, theta, transform)) == 1


@pytest.mark.parametrize(("kernel", "padding"), CASES)
def test_kernels(kernel, padding):
    theta = torch.tensor([[0.9, 0.1, 0.0, -0.1, 0.9, 0.1]]).repeat(2, 1)
    options = {"kernel": kernel, "padding": padding}
    assert graphs(lambda image: stn.warp(image, theta, "affine", **options)) == 1
