"""Exported networks and warps: ONNX Runtime and torch.export give what we give, on real digits;
what does not is not written; what cannot be exported is told why."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import spatial_transformer as stn
from spatial_transformer.errors import ExportError, OptionError
from spatial_transformer.experiments.data.catalogue import make_dataset
from spatial_transformer.experiments.models.build import ModelConfig, build_model
from spatial_transformer.export import (
    Warp,
    export_module,
    export_network,
    export_onnx,
    export_program,
    export_warp,
)

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
pytest.importorskip("onnxscript", reason="onnxscript is not installed")

ROOT = Path(__file__).parents[2]

#: every padding, and every way that a sampler becomes a graph; the whole table is in docs/export.md
PAIRS = [
    ("affine", "bilinear", "zeros", 2), ("affine", "bilinear", "fill", 2),
    ("projective", "nearest", "reflection", 2), ("thin_plate_spline", "bicubic", "border", 2),
    ("similarity", "lanczos", "wrap", 2), ("displacement", "bilinear", "mirror", 2),
    ("log_polar", "bspline3", "zeros", 2), ("affine", "bilinear", "reflection", 3),
]  # fmt: skip


@pytest.fixture(scope="module")
def digits(data_root):
    images, _ = next(make_dataset("r").fixed("test", data_root=data_root))
    return images[:4]


def run(path, *inputs):
    """What ONNX Runtime gives."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [i.name for i in session.get_inputs()]
    return session.run(None, {n: t.numpy() for n, t in zip(names, inputs, strict=True)})


def operators(path):
    """The kinds of nodes of a model."""
    return {node.op_type for node in onnx.load(path).graph.node}


def perturbed(config):
    """A network that has left the identity."""
    model = build_model(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return model.eval()


@pytest.mark.slow
class TestWarps:
    @pytest.mark.parametrize(("transform", "kernel", "padding", "dims"), PAIRS)
    def test_onnx_runtime_agrees(self, transform, kernel, padding, dims, digits, tmp_path):
        made = stn.make_transform(transform, **({"dims": 3} if dims == 3 else {}))
        fill = 0.4 if padding == "fill" else None
        module = Warp(made, kernel=kernel, padding=padding, fill=fill)
        fixed = kernel in ("bspline2", "bspline3")
        images = digits if dims == 2 else digits[:, :, None, ::2, ::2].repeat(1, 1, 9, 1, 1)
        file = tmp_path / "warp.onnx"
        assert export_warp(module, file, images=images, fixed_size=fixed) <= 1e-5
        model = onnx.load(file)
        onnx.checker.check_model(model, full_check=True)
        assert [(o.domain, o.version) for o in model.opset_import if o.domain == ""] == [("", 20)]
        assert {n.domain for n in model.graph.node} <= {"", "pkg.onnxscript.torch_lib.common"}
        # sizes and batches that it was not traced with
        images = images[:3] if fixed else images[:3, :, ..., :-3, 2:]
        theta = made.identity() + 0.1 * torch.randn(3, made.num_params)
        (found,) = run(file, images, theta)
        wanted = stn.warp(images, theta, made, kernel=kernel, padding=padding, fill=fill)
        np.testing.assert_allclose(found, wanted.numpy(), rtol=0, atol=1e-5)

    @pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
    def test_what_is_not_finite_reads_as_outside(self, padding, digits, tmp_path):
        module = Warp("projective", padding=padding)
        export_warp(module, tmp_path / "warp.onnx", images=digits)
        theta = stn.Projective().identity().repeat(4, 1)
        theta[0, 2], theta[1, 5] = torch.nan, torch.inf
        theta[2, 6] = 3.0  # the horizon runs through the image
        (found,) = run(tmp_path / "warp.onnx", digits, theta)
        np.testing.assert_allclose(found, module(digits, theta).numpy(), rtol=0, atol=1e-5)
        assert (found[:2] == 0).all()

    @pytest.mark.parametrize("built", [True, False])
    def test_bilinear_is_one_operator(self, built, digits, tmp_path, monkeypatch):
        if not built:  # a machine without a compiler exports the same
            from spatial_transformer.ops.cpu import launch

            monkeypatch.setattr(launch, "available", lambda: (False, "not built"))
            monkeypatch.setattr("spatial_transformer.ops.backend._warn_once", lambda why: None)
        export_warp(Warp("affine"), tmp_path / "warp.onnx", images=digits)
        kinds = [n.op_type for n in onnx.load(tmp_path / "warp.onnx").graph.node]
        assert kinds.count("GridSample") == 1
        assert "GatherElements" not in kinds

    def test_the_module_is_left_as_it_was(self, tmp_path):
        layer = stn.SpatialTransformer("fully_connected", "affine").train()
        layer(torch.rand(2, 1, 8, 8))
        export_onnx(layer, tmp_path / "layer.onnx", [torch.rand(2, 1, 8, 8)])
        assert all(m.training for m in layer.modules())
        assert all(p.requires_grad for p in layer.parameters())
        (graph,) = [onnx.load(tmp_path / "layer.onnx").graph]
        assert [o.name for o in graph.output] == ["output"]
        assert graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"

    @pytest.mark.parametrize("padding", ["zeros", "mirror"])
    @pytest.mark.parametrize("file", ["layer.onnx", "layer.pt2"])
    def test_several_transforms_of_an_image(self, padding, file, tmp_path):
        image = torch.rand(3, 1, 16, 16)
        layer = stn.Parallel("fully_connected", "attention", size=8, count=2, padding=padding)
        layer(image)
        with torch.no_grad():
            layer.localisation.head.weight.normal_(std=0.05)
        assert export_module(layer, tmp_path / file, [image], more=[[image[:2]]]) <= 1e-5

    def test_a_batch_that_is_fixed(self, tmp_path):
        file = tmp_path / "layer.onnx"
        export_onnx(
            Warp("affine", 4), file, [torch.rand(2, 1, 8, 8), torch.zeros(2, 6)], dynamic={}
        )
        with pytest.raises(
            ExportError, match=r"does not run with inputs of \(3, 1, 8, 8\), \(3, 6\): "
        ):
            export_onnx(
                Warp("affine", 4), file, [torch.rand(2, 1, 8, 8), torch.zeros(2, 6)], dynamic={},
                more=[[torch.rand(3, 1, 8, 8), torch.zeros(3, 6)]],
            )  # fmt: skip

    @pytest.mark.parametrize("opset", [18, 25])
    @pytest.mark.parametrize("kernel", ["bilinear", "nearest"])
    def test_an_opset_of_choice(self, opset, kernel, digits, tmp_path):
        if opset > onnx.defs.onnx_opset_version():
            pytest.skip(f"onnx {onnx.__version__} does not know opset {opset}")
        module = Warp("affine", kernel=kernel, padding="border")
        file = tmp_path / "warp.onnx"
        assert export_warp(module, file, images=digits, opset=opset) <= 1e-5
        model = onnx.load(file)
        onnx.checker.check_model(model, full_check=True)
        assert [o.version for o in model.opset_import if o.domain == ""] == [opset]
        assert ("GridSample" in operators(file)) == (kernel == "bilinear")
        theta = stn.Affine().identity() + 0.1 * torch.randn(3, 6)
        (found,) = run(file, digits[:3, :, 5:], theta)
        wanted = module(digits[:3, :, 5:], theta).numpy()
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5)

    def test_antialias_by_a_number_of_points(self, digits, tmp_path):
        module = Warp("affine", 14, antialias=2)
        assert export_warp(module, tmp_path / "warp.onnx", images=digits) <= 1e-5


@pytest.mark.slow
class TestNetworks:
    CONFIG = ModelConfig("st_cnn", in_shape=(1, 28, 28), transform="affine", parameters=30_000)

    def test_st_cnn_on_digits(self, digits, tmp_path):
        model = perturbed(self.CONFIG)
        file = tmp_path / "digits.onnx"
        assert export_network(model, file, digits, metadata={"labels": "[]"}) <= 1e-5
        with torch.no_grad():
            wanted = model(digits[:3], return_warped=True)
        names = [o.name for o in onnxruntime.InferenceSession(str(file)).get_outputs()]
        assert names == ["scores", "warped", "theta"]
        for a, b in zip(run(file, digits[:3]), wanted, strict=True):
            np.testing.assert_allclose(a, b.numpy(), rtol=0, atol=1e-5)
        assert not torch.equal(wanted[1], digits[:3])

    def test_torch_export(self, digits, tmp_path):
        model = perturbed(self.CONFIG)
        file = tmp_path / "digits.pt2"
        assert export_network(model, file, digits) <= 1e-5
        code = (
            "import sys, torch; program = torch.export.load(sys.argv[1]); "
            "assert 'spatial_transformer' not in sys.modules; "
            "torch.save(program.module()(torch.load(sys.argv[2])), sys.argv[3])"
        )
        given, found = tmp_path / "in.pt", tmp_path / "out.pt"
        torch.save(digits[:3], given)
        subprocess.run([sys.executable, "-c", code, file, given, found], check=True)
        with torch.no_grad():
            wanted = model(digits[:3], return_warped=True)
        for a, b in zip(torch.load(found), wanted, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-5)

    @pytest.mark.parametrize("file", ["digits.onnx", "digits.pt2"])
    def test_files_hold_no_examples(self, file, data_root, tmp_path):
        images, _ = next(make_dataset("r").fixed("test", data_root=data_root))
        model = perturbed(self.CONFIG)
        export_network(model, tmp_path / file, images[:16])
        weights = sum(p.numel() * p.element_size() for p in model.parameters())
        assert weights < (tmp_path / file).stat().st_size < 2 * weights + 100_000

    def test_files_hold_of_a_buffer_what_is_the_modules(self, tmp_path):
        class Shifted(nn.Module):
            def __init__(self):
                super().__init__()
                self.register_buffer("shift", torch.rand(1_000_000)[:8])
                self.scale = torch.rand(1_000_000)[8:16]

            def forward(self, image):
                return self.scale * image + self.shift

        file = tmp_path / "shifted.pt2"
        assert export_module(Shifted(), file, [torch.rand(10_000, 8)[:4]]) == 0
        assert file.stat().st_size < 50_000

    def test_the_example_needs_no_torch(self, tiny, tmp_path):
        model = build_model(ModelConfig("st_fcn", in_shape=(1, 42, 42), size=28))
        images = torch.rand(4, 1, 42, 42)
        labels = json.dumps(list("0123456789"))
        export_network(model, tmp_path / "m.onnx", images, metadata={"labels": labels})
        script = ROOT / "examples" / "onnx_digits.py"
        code = (
            "import runpy, sys; sys.argv = sys.argv[1:]; "
            "runpy.run_path(sys.argv[0], run_name='__main__'); assert 'torch' not in sys.modules"
        )
        words = [sys.executable, "-c", code, script, tmp_path / "m.onnx", tiny, "--count", "50"]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        assert "of 50 read rightly" in done.stdout
        assert "theta of the first: [1. 0. 0. 0. 1. 0.]" in done.stdout


class TestErrors:
    def test_lazy_layers_that_have_seen_nothing(self, tmp_path):
        layer = stn.SpatialTransformer("fully_connected", "affine")
        with pytest.raises(ExportError, match="SpatialTransformer has lazy layers .* call it once"):
            export_module(layer, tmp_path / "layer.onnx", [torch.rand(2, 1, 8, 8)])

    @pytest.mark.slow
    def test_antialias_that_reads_the_grid(self, tmp_path):
        with pytest.raises(ExportError, match=r"antialias=True takes as many points .*antialias=4"):
            export_warp(Warp("affine", antialias=True), tmp_path / "w.onnx")

    def test_antialias_of_any_size(self, tmp_path):
        warp = Warp("affine", antialias=4)
        with pytest.raises(
            ExportError, match="for one output size: give Warp its size=, or .*fixed"
        ):
            export_warp(warp, tmp_path / "w.pt2")

    def test_outputs_that_there_are_not(self, tmp_path):
        with pytest.raises(OptionError, match=r"outputs names \['a', 'b'\], but the module has 1"):
            export_module(
                nn.Linear(8, 2), tmp_path / "n.onnx", [torch.rand(2, 8)], outputs=["a", "b"]
            )

    @pytest.mark.slow
    def test_a_prefilter_of_any_size(self, tmp_path):
        for suffix in ("onnx", "pt2"):
            path = tmp_path / f"w.{suffix}"
            assert export_warp(Warp("affine", kernel="bspline3"), path) < 1e-5
            assert path.is_file()

    def test_the_oracle(self, tmp_path):
        with pytest.raises(ExportError, match="Warp cannot be exported: "):
            export_warp(Warp("affine", backend="reference"), tmp_path / "w.onnx")

    def test_a_batch_of_one_and_other_files(self, tmp_path):
        with pytest.raises(OptionError, match=r"example input \(1, 8\): axis 0 \(batch\)"):
            export_program(nn.Linear(8, 2), [torch.rand(1, 8)])
        with pytest.raises(ExportError, match="must end in .onnx or .pt2"):
            export_module(nn.Linear(8, 2), tmp_path / "x.tflite", [torch.rand(2, 8)])

    @pytest.mark.slow
    def test_what_does_not_agree_is_not_written(self, tmp_path, monkeypatch):
        from spatial_transformer.export import sampling

        right = sampling.sample_exported
        monkeypatch.setattr(
            sampling, "sample_exported", lambda *given, **options: right(*given, **options) + 1e-4
        )
        for name in ("w.onnx", "w.pt2"):
            with pytest.raises(ExportError, match="it differs by 0.0001.*nothing was written"):
                export_warp(Warp("affine"), tmp_path / name)
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("opset", [17, 13, 99, 20.0, True, "20"])
    def test_opsets_that_cannot_be_written(self, opset, tmp_path):
        with pytest.raises(OptionError, match=rf"opset must be 18 to \d\d \(.*\), got {opset!r}"):
            export_onnx(nn.Linear(8, 2), tmp_path / "n.onnx", [torch.rand(2, 8)], opset=opset)

    def test_the_opset_of_another_file(self, tmp_path):
        with pytest.raises(OptionError, match="opset=18 is for ONNX files"):
            export_module(nn.Linear(8, 2), tmp_path / "n.pt2", [torch.rand(2, 8)], opset=18)

    @pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
    def test_packages_are_named(self, package, monkeypatch, tmp_path):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(OptionError, match=rf'{package} is not .*"\.\[export\]"'):
            export_onnx(nn.Linear(8, 2), tmp_path / "x.onnx", [torch.rand(2, 8)])
