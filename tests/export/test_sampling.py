"""Graphs without GridSample, for run times that lack it, are what the module is."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import spatial_transformer as stn
from spatial_transformer.export import Warp, export_module, export_program, export_warp

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
pytest.importorskip("onnxscript", reason="onnxscript is not installed")

IMAGES = {2: (4, 2, 12, 14), 3: (3, 2, 6, 8, 9)}
#: of sizes and a batch that graphs are not traced with
OTHERS = {2: (5, 2, 17, 9), 3: (2, 2, 5, 11, 7)}


def run(path, *inputs):
    """What ONNX Runtime gives."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [i.name for i in session.get_inputs()]
    return session.run(None, {n: t.numpy() for n, t in zip(names, inputs, strict=True)})


def operators(path):
    return {node.op_type for node in onnx.load(path).graph.node}


class Sampled(nn.Module):
    """A module that calls grid_sample itself."""

    def __init__(self, **options):
        super().__init__()
        self.options = {"align_corners": False, **options}

    def forward(self, image, grid):
        return F.grid_sample(image, grid, **self.options)


def axes(dims):
    names = ("depth", "height", "width")[-dims:]
    return {
        "image": {0: "batch", 1: "channels", **dict(enumerate(names, 2))},
        "grid": {0: "batch", **dict(enumerate((f"output_{n}" for n in names), 1))},
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kernel", "padding", "dims"),
    [
        ("nearest", "reflection", 2), ("bicubic", "wrap", 2),
        ("nearest", "border", 3), ("bilinear", "zeros", 3),
    ],
)  # fmt: skip
def test_warps_become_gathers(kernel, padding, dims, tmp_path):
    transform = stn.Affine(dims=dims)
    module = Warp(transform, kernel=kernel, padding=padding)
    file = tmp_path / "warp.onnx"
    images = torch.rand(*IMAGES[dims])
    assert export_warp(module, file, images=images, grid_sample=False, opset=18) <= 1e-5
    assert "GridSample" not in operators(file)
    assert "GatherElements" in operators(file)
    images = torch.rand(*OTHERS[dims])
    theta = transform.identity() + 0.2 * torch.randn(len(images), transform.num_params)
    theta[0, 0] = torch.nan
    (found,) = run(file, images, theta)
    np.testing.assert_allclose(found, module(images, theta).numpy(), rtol=0, atol=1e-5)
    if padding != "wrap" and (kernel, dims) != (
        "bicubic",
        3,
    ):  # torch has them, and no code of ours
        grid = transform.grid(theta[1:], images.shape[2:])
        wanted = F.grid_sample(
            images[1:], grid, mode=kernel, padding_mode=padding, align_corners=False
        )
        np.testing.assert_allclose(found[1:], wanted.numpy(), rtol=0, atol=2e-5)


@pytest.mark.slow
class TestOpsetsBefore20:
    """They have GridSample in 2-D alone."""

    @pytest.mark.parametrize("opset", [19, 20])
    def test_volumes_become_gathers_by_themselves(self, opset, tmp_path):
        file = tmp_path / "warp.onnx"
        export_warp(Warp(stn.Affine(dims=3)), file, opset=opset)
        assert ("GridSample" in operators(file)) == (opset == 20)
        onnx.checker.check_model(onnx.load(file), full_check=True)

    def test_images_do_not(self, tmp_path):
        export_warp(Warp("affine"), tmp_path / "warp.onnx", opset=18)
        assert "GridSample" in operators(tmp_path / "warp.onnx")

    def test_a_modules_own_grid_sample(self, tmp_path):
        for dims, opset in ((2, 18), (3, 18), (3, 20)):
            file = tmp_path / f"{dims}-{opset}.onnx"
            grid = 2.2 * torch.rand(IMAGES[dims][0], *(5, 6, 7)[:dims], dims) - 1.1
            export_module(Sampled(), file, [torch.rand(*IMAGES[dims]), grid], opset=opset)
            assert ("GridSample" in operators(file)) == (dims == 2 or opset == 20)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "padding", "corners", "dims"),
    [
        ("nearest", "zeros", False, 2), ("bicubic", "reflection", False, 2),
        ("bilinear", "reflection", True, 3),
    ],
)  # fmt: skip
def test_a_modules_own_grid_sample_becomes_gathers(mode, padding, corners, dims, tmp_path):
    module = Sampled(mode=mode, padding_mode=padding, align_corners=corners)
    file = tmp_path / "sampled.onnx"
    image = torch.rand(*IMAGES[dims])
    grid = 3 * torch.rand(len(image), *(5, 6, 7)[:dims], dims) - 1.5
    inputs = [image, grid]
    assert export_module(module, file, inputs, dynamic=axes(dims), grid_sample=False) <= 1e-5
    assert "GridSample" not in operators(file)


@pytest.mark.slow
def test_half_way_points_of_a_modules_own_nearest_are_rounded_as_torch_does(tmp_path):
    image = torch.arange(8.0).view(1, 1, 1, 8).repeat(2, 1, 2, 1)
    halves = (torch.arange(8) * 2 - 6) / 8  # pixel 0.5, 1.5, ...
    grid = torch.stack([halves, torch.zeros(8) - 0.5], dim=-1).view(1, 1, 8, 2).repeat(2, 1, 1, 1)
    module = Sampled(mode="nearest")
    wanted = module(image, grid)
    assert wanted[0, 0, 0].tolist() == [0, 2, 2, 4, 4, 6, 6, 0]
    export_module(module, tmp_path / "n.onnx", [image, grid], grid_sample=False)
    (found,) = run(tmp_path / "n.onnx", image, grid)
    np.testing.assert_array_equal(found, wanted.numpy())


@pytest.mark.slow
def test_programs_without_grid_sample(tmp_path):
    image, grid = torch.rand(2, 1, 6, 7), 2 * torch.rand(2, 5, 4, 2) - 1
    for keep in (True, False):
        program = export_program(Sampled(), [image, grid], grid_sample=keep)
        kinds = " ".join(str(n.target) for n in program.graph.nodes)
        assert ("grid_sampler" in kinds) == keep
        torch.testing.assert_close(
            program.module()(image[:1], grid[:1]), Sampled()(image[:1], grid[:1]), rtol=0, atol=1e-6
        )
