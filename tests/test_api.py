"""The public face: a change here is a change to every user."""

import inspect
import subprocess
import sys

import spatial_transformer as stn

NAMES = {
    *("Affine", "Attention", "Bounded", "BSplineDeformation", "Compose", "Diffeomorphic"),
    *("Displacement", "LinearBasis", "LogPolar", "PiecewiseAffine", "PixelAffine", "Projective"),
    *("Rigid", "Similarity", "ThinPlateSpline", "Transform", "Translation"),
    *("Kernel", "Localisation", "Sampler", "grid_from_flow", "grid_from_pixels"),
    *("Cascade", "CollapseMonitor", "Parallel", "Recurrent", "SpatialTransformer"),
    *("list_localisations", "list_samplers", "list_transforms", "load_pretrained"),
    *("make_localisation", "make_sampler", "make_transform"),
    *("localisation_parameters", "param_groups", "sample", "warp", "SpatialTransformerError"),
}
SAMPLER = (
    "kernel='bilinear', padding='zeros', fill=None, align_corners=False, antialias=False, "
    "backend='auto'"
)


def parameters(function: object) -> str:
    """The parameters with their defaults, without annotations."""
    signature = inspect.signature(function)
    bare = [p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values()]
    return str(inspect.Signature(bare))


def test_the_public_names_are_these():
    modules = {n for n, v in vars(stn).items() if inspect.ismodule(v)}
    public = {n for n in vars(stn) if not n.startswith("_")} - modules
    assert public == NAMES
    assert len(public) <= 40


def test_the_signatures_are_those_of_the_design():
    assert parameters(stn.sample) == f"(image, grid, *, {SAMPLER})"
    assert parameters(stn.warp) == f"(image, theta, transform, size=None, *, {SAMPLER})"
    assert parameters(stn.Affine.grid) == "(self, theta, size, align_corners=False)"
    assert parameters(stn.Affine.compose) == "(self, outer, inner)"
    assert parameters(stn.SpatialTransformer) == (
        f"(localisation, transform='affine', size=None, *, {SAMPLER}, return_theta=False)"
    )
    assert parameters(stn.param_groups) == "(model, lr, localisation_lr_scale=0.1)"


def test_a_module_class_has_its_functions_defaults():
    function = inspect.signature(stn.sample).parameters
    for shell in (stn.Sampler, stn.SpatialTransformer):
        module = inspect.signature(shell).parameters
        for name in ("kernel", "padding", "fill", "align_corners", "antialias", "backend"):
            assert module[name].default == function[name].default, (shell, name)


def test_importing_the_library_imports_no_heavy_package():
    code = (
        "import torch, sys; before = set(sys.modules); import spatial_transformer; "
        "print({m.split('.')[0] for m in set(sys.modules) - before})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {
        *("matplotlib", "lightning_fabric", "lightning", "rich", "typer", "PIL", "scipy", "cv2"),
        *("gradio", "onnx", "onnxscript", "onnxruntime", "tensorboard", "huggingface_hub"),
        *("safetensors", "kornia", "h5py", "triton"),
    }
    assert not heavy & set(eval(done.stdout))  # our own output
