"""What type checkers make of the public face: a user's program, and one with mistakes."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from torch import nn

import spatial_transformer as stn
from spatial_transformer import names
from spatial_transformer.modules.classifier import Transformed
from spatial_transformer.pretrained import list_pretrained

ROOT = Path(__file__).parents[1]

PROGRAM = """
from typing import assert_type

import torch
from torch import Tensor, nn

import spatial_transformer as stn


class Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = stn.SpatialTransformer("convolutional", "affine", 28, padding="border")
        self.parts = stn.Parallel("fully_connected", stn.Attention(), 14, count=2, stack=True)
        self.eyes = stn.Recurrent(nn.Flatten(), nn.GRUCell(64, 8), "affine", 14, steps=3)
        self.head = nn.LazyLinear(10)

    def forward(self, images: Tensor) -> Tensor:
        warped = self.layer(images)
        assert_type(warped, Tensor)
        views, theta = self.parts(images, return_theta=True)
        assert_type(theta, Tensor)
        assert_type(self.layer(images, return_theta=True), tuple[Tensor, Tensor])
        assert_type(self.eyes(images), Tensor)
        assert_type(self.eyes(images, return_theta=True), tuple[Tensor, Tensor])
        scores: Tensor = self.head(torch.cat([warped.flatten(1), views.flatten(1)], dim=1))
        return scores


network = stn.load_pretrained("st_cnn_affine_rts_small")
logits, view, found = network(torch.rand(2, 1, 42, 42), return_warped=True)
assert_type(network(torch.rand(2, 1, 42, 42)), Tensor)
assert_type(network.transformer, stn.SpatialTransformer)
plain = stn.load_pretrained("cnn_rts_small")
assert_type(plain, nn.Sequential)
assert_type(stn.load_pretrained("my/folder"), nn.Module)
assert_type(stn.warp(torch.rand(2, 1, 8, 8), found, "affine", kernel="bicubic"), Tensor)
for name in stn.list_transforms():
    assert_type(stn.make_transform(name), stn.Transform)
assert_type(stn.Affine()(found, (8, 8)), Tensor)
assert_type(stn.make_localisation("convolutional", "affine")(torch.rand(2, 1, 42, 42)), Tensor)
"""

MISTAKES = """
import torch

import spatial_transformer as stn

image, theta = torch.rand(1, 1, 8, 8), torch.rand(1, 6)
stn.warp(image, theta, "affin")  # wrong
stn.warp(image, theta, "affine", padding="zeroes")  # wrong
stn.sample(image, torch.rand(1, 8, 8, 2), kernel="bilinera")  # wrong
stn.sample(image, torch.rand(1, 8, 8, 2), backend="gpu")  # wrong
stn.SpatialTransformer("convolutional", "affine", padding="zeroes")  # wrong
stn.SpatialTransformer("convolutionl", "affine")  # wrong
stn.Cascade(["convolutional"], "affine", padding="zeroes")  # wrong
stn.Parallel("convolutional", "affine", count=2, pading="zeros")  # wrong
stn.Recurrent(torch.nn.Flatten(), torch.nn.GRUCell(64, 8), "affin", steps=2)  # wrong
stn.Sampler("bilinera")  # wrong
stn.make_transform("afine")  # wrong
layer = stn.SpatialTransformer("convolutional")
layer(image, return_theta=True).shape  # wrong
"""

CHECKERS = {
    "mypy": [
        "--config-file",
        str(ROOT / "pyproject.toml"),
        "--cache-dir",
        str(ROOT / ".mypy_cache"),
    ],
    "basedpyright": ["--pythonpath", sys.executable],
}


@pytest.fixture(params=CHECKERS)
def complaints(request, tmp_path):
    """A function from a program to the lines that a checker complains about, and what it says."""
    checker = request.param
    pytest.importorskip(checker)

    def check(program):
        file = tmp_path / "program.py"
        file.write_text(program.lstrip())
        (tmp_path / "pyrightconfig.json").write_text(json.dumps({"typeCheckingMode": "strict"}))
        command = [sys.executable, "-m", checker, *CHECKERS[checker], str(file)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode in (0, 1), done.stdout + done.stderr
        errors = re.findall(r"program\.py:(\d+)(?::\d+)?(?: -|:) error", done.stdout)
        return sorted({int(line) for line in errors}), done.stdout

    return check


@pytest.mark.slow
def test_a_program_has_the_types_that_it_says(complaints):
    lines, said = complaints(PROGRAM)
    assert not lines, said


@pytest.mark.slow
def test_every_mistake_is_seen(complaints):
    lines, said = complaints(MISTAKES)
    expected = [n for n, line in enumerate(MISTAKES.strip().split("\n"), 1) if "# wrong" in line]
    assert lines == expected, said


def test_the_names_are_those_of_the_registries():
    assert get_args(names.TransformName) == stn.list_transforms()
    assert get_args(names.KernelName) == stn.list_samplers()
    assert get_args(names.LocalisationName) == stn.list_localisations()


def test_the_trained_networks_have_the_classes_that_are_said():
    shipped = {*get_args(names.TransformedName), *get_args(names.ClassifierName)}
    assert shipped == set(list_pretrained())
    for name in shipped:
        expected = Transformed if name in get_args(names.TransformedName) else nn.Sequential
        assert isinstance(stn.load_pretrained(name), expected), name
