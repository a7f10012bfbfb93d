"""The figures of the code, those that are promised."""

import torch
from tools.metrics import cycles, imports, private_names, python_calls, sources

import spatial_transformer as stn


def test_a_warp_makes_at_most_nine_python_calls():
    image, theta = torch.rand(1, 1, 8, 8), torch.tensor([[1.0, 0.0, 0.0, 0.0, 1.0, 0.0]])
    for maps in (theta, theta.clone().requires_grad_()):
        calls = python_calls(lambda maps=maps: stn.warp(image, maps, "affine"))
        assert calls[0] == "warp"
        assert 3 < len(calls) <= 9


def test_no_modules_import_each_other():
    modules = sources()
    graph = {name: imports(name, path, modules) for name, path in modules.items()}
    assert len(graph) > 150
    assert "spatial_transformer.ops.plan" in graph["spatial_transformer.functional"]
    assert cycles(graph) == []
    graph["spatial_transformer.ops.plan"].add("spatial_transformer.functional")
    assert cycles(graph) == [["spatial_transformer.functional", "spatial_transformer.ops.plan"]]


def test_private_names_of_torch_stand_in_one_file():
    assert private_names() == []
