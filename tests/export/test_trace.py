"""What torch.jit.trace makes of our modules holds no operator of ours: other processes run it."""

import subprocess
import sys

import pytest
import torch

import spatial_transformer as stn
from spatial_transformer.errors import ExportError
from spatial_transformer.export import Warp

pytestmark = pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")

#: a process of its own, which has none of our operators
RUN = """
import sys, torch
for folder in sys.argv[1:]:
    inputs = torch.load(f"{folder}/inputs.pt")
    torch.save(torch.jit.load(f"{folder}/module.pt")(*inputs), f"{folder}/output.pt")
assert "spatial_transformer" not in sys.modules
"""

WARPS = [
    ("affine", "bilinear", "zeros"), ("similarity", "nearest", "border"),
    ("projective", "bicubic", "reflection"), ("thin_plate_spline", "bilinear", "mirror"),
    ("displacement", "lanczos", "wrap"), ("affine", "bspline3", "mirror"),
]  # fmt: skip


def ours(traced):
    kinds = {node.kind() for node in traced.inlined_graph.nodes()}
    return {kind for kind in kinds if kind.startswith("stn::") or "Python" in kind}


@pytest.mark.slow
def test_another_process_runs_them(tmp_path):
    folders, wanted = [], []
    for transform, kernel, padding in WARPS:
        folder = tmp_path / f"{transform}-{kernel}"
        folder.mkdir()
        module = Warp(transform, kernel=kernel, padding=padding)
        identity = module.transform.identity()
        (traced_with, inputs) = (
            (torch.rand(batch, 2, 9, 11), identity + 0.1 * torch.randn(batch, len(identity)))
            for batch in (3, 5)
        )
        traced = torch.jit.trace(module, traced_with)
        assert not ours(traced), (transform, kernel)
        traced.save(folder / "module.pt")
        torch.save(inputs, folder / "inputs.pt")
        folders.append(folder)
        wanted.append(module(*inputs))
    subprocess.run([sys.executable, "-c", RUN, *folders], check=True)
    for folder, output in zip(folders, wanted, strict=True):
        found = torch.load(folder / "output.pt")
        torch.testing.assert_close(found, output, rtol=0, atol=1e-5)


def test_what_is_kept_is_a_constant_of_the_trace():
    # and not worked out each time that the traced module runs
    traced = torch.jit.trace(Warp("thin_plate_spline"), (torch.rand(2, 1, 5, 6), torch.rand(2, 32)))
    kinds = {node.kind() for node in traced.inlined_graph.nodes()}
    assert not {kind for kind in kinds if kind == "aten::log" or "linalg" in kind}


@pytest.mark.parametrize("kernel", ["nearest", "bilinear", "bicubic"])
def test_images_of_another_size_are_read_as_such(kernel):
    theta = stn.Affine().identity() + 0.1 * torch.randn(2, 6)
    module = Warp("affine", 7, kernel=kernel)
    traced = torch.jit.trace(module, (torch.rand(2, 1, 8, 8), theta))
    image = torch.rand(2, 1, 13, 10)
    torch.testing.assert_close(traced(image, theta), module(image, theta), rtol=0, atol=1e-5)


def test_layers_of_volumes_and_of_several_transforms():
    layers = [
        (stn.SpatialTransformer("fully_connected", stn.Affine(dims=3)), (2, 1, 5, 6, 7)),
        (stn.Parallel("fully_connected", "attention", size=4, count=2), (2, 1, 8, 8)),
    ]
    for layer, shape in layers:
        image = torch.rand(shape)
        layer(image)
        torch.nn.init.normal_(layer.localisation.head.weight, std=0.05)
        traced = torch.jit.trace(layer, image)
        assert not ours(traced)
        image = torch.rand(5, *shape[1:])
        torch.testing.assert_close(traced(image), layer(image), rtol=0, atol=1e-5)
        grad, wanted = (
            torch.autograd.grad(f(image).square().sum(), layer.localisation.head.weight)
            for f in (traced, layer)
        )
        torch.testing.assert_close(grad, wanted, rtol=1e-3, atol=1e-3)


def test_how_many_points_a_grid_needs_is_not_kept_in_a_trace():
    module = Warp("affine", 4, antialias=True)
    with pytest.raises(ExportError, match=r"an exported graph cannot know.*antialias=4"):
        torch.jit.trace(module, (torch.rand(2, 1, 8, 8), torch.rand(2, 6)))
