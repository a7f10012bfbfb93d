"""Features say which package they lack, and how to get it."""

import importlib
import sys

import pytest

from spatial_transformer.errors import OptionError
from spatial_transformer.extras import require


def test_what_is_there_is_imported():
    assert require("importlib", "pretrained") is importlib


def test_what_is_not_there_is_named_with_its_extra():
    with pytest.raises(
        OptionError, match=r"no_such_package.inner is not installed.*pip install"
    ) as error:
        require("no_such_package.inner", "demo")
    assert 'pip install ".[demo]" in a clone' in str(error.value)


@pytest.mark.parametrize(
    ("package", "extra"),
    [
        ("tensorboard", "tensorboard"),
        ("huggingface_hub", "pretrained"),
        ("onnx", "export"),
        ("gradio", "demo"),
    ],
)
def test_every_feature_does(package, extra, monkeypatch, tmp_path):
    import torch

    import spatial_transformer as stn
    from spatial_transformer.demo.server import build_app
    from spatial_transformer.experiments.training.progress import TensorBoard
    from spatial_transformer.export import export_onnx

    monkeypatch.setitem(sys.modules, package, None)  # import fails
    layer = stn.SpatialTransformer("fully_connected", "affine")
    use = {
        "tensorboard": lambda: TensorBoard(tmp_path),
        "huggingface_hub": lambda: stn.load_pretrained("hf:someone/something"),
        "onnx": lambda: export_onnx(layer, tmp_path / "x.onnx", (torch.zeros(1, 1, 8, 8),)),
        "gradio": lambda: build_app(None, None),
    }
    with pytest.raises(
        OptionError, match=rf'{package} is not installed.*pip install "\.\[{extra}\]"'
    ):
        use[package]()
