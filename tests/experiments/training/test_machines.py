"""Training runs on every processor: what one has and another lacks is asked for, not assumed."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from spatial_transformer.experiments.models.build import build_model
from spatial_transformer.experiments.models.cnn import convolve_rows
from spatial_transformer.experiments.runner.run import open_fabric
from spatial_transformer.experiments.tables.catalogue import EXPERIMENTS
from spatial_transformer.experiments.training import precision
from spatial_transformer.experiments.training.loop import fit
from spatial_transformer.modules.spatial_transformer import SpatialTransformer
from spatial_transformer.ops.cpu import load

RECIPES = [(name, recipe) for name, e in EXPERIMENTS.items() for recipe in e.recipes]


def brightness(network, batch):
    """An objective that has no use for labels."""
    return network(batch[0]).float().square().mean(), torch.zeros(())


def run_recipe(name, recipe):
    """A few steps of every network of an experiment, on random images."""
    table = EXPERIMENTS[name]
    for model, transform in {m: (m, t) for m, t in table.models}.values():
        config = table.cell(table.datasets[0], model, transform, recipe=recipe)
        network = build_model(config.model)
        count = (4,) if config.model.length == 1 else (4, config.model.length)
        batch = torch.rand(4, *config.model.in_shape), torch.randint(config.model.classes, count)
        steps = replace(config.recipe, iterations=2, batch_size=4)
        # a transformer on its own has no classes
        objective = brightness if isinstance(network, SpatialTransformer) else None
        fabric = open_fabric("cpu", steps.precision)
        fitted = fit(fabric, network, {0: batch, 1: batch}.__getitem__, steps, objective=objective)
        assert all(torch.isfinite(p).all() for p in fitted.model.parameters())
        if not precision.has_native_bfloat16(torch.device("cpu")):
            assert fitted.precision == "32-true"


@pytest.mark.parametrize(("name", "recipe"), RECIPES)
def test_every_recipe_trains_without_onednn(name, recipe):
    with torch.backends.mkldnn.flags(enabled=False):
        run_recipe(name, recipe)


SETTINGS = [
    {"ATEN_CPU_CAPABILITY": "default"},
    {"ONEDNN_MAX_CPU_ISA": "SSE41", "ATEN_CPU_CAPABILITY": "default"},
    *({load.CAPABILITY: name} for name in load.SETS),
]


@pytest.mark.slow
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_every_recipe_trains_with_lesser_instructions(setting):
    code = (
        "import warnings; warnings.simplefilter('ignore')\n"
        "import test_machines as t\n"
        "for cell in t.RECIPES: t.run_recipe(*cell)\n"
        "print('trained', len(t.RECIPES))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **setting, "OMP_NUM_THREADS": "1"},
        cwd=os.path.dirname(__file__),
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == f"trained {len(RECIPES)}", done.stderr


@pytest.mark.parametrize("onednn", [False, True])
@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_first_convolution_has_gradients_everywhere(channels, layout, autocast, onednn):
    image = torch.rand(2, channels, 14, 13, requires_grad=True)
    weight = torch.rand(5, channels, 9, 7).contiguous(memory_format=layout).requires_grad_()
    with torch.backends.mkldnn.flags(enabled=onednn):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            out = convolve_rows(image, weight)
        ours = torch.autograd.grad(out.float().square().sum(), (image, weight))
    wide = F.conv2d(image.double(), weight.double())
    wanted = torch.autograd.grad(wide.square().sum(), (image, weight))
    for a, b in zip((out, *ours), (wide, *wanted), strict=True):
        scale = b.abs().max().item()
        torch.testing.assert_close(
            a.double() / scale, b.double() / scale, rtol=0, atol=0.02 if autocast else 1e-5
        )


def test_bfloat16_is_taken_where_it_is_native_and_that_is_said(monkeypatch):
    cpu = torch.device("cpu")
    precision._say_once.cache_clear()
    monkeypatch.setattr(precision, "has_native_bfloat16", lambda device: False)
    with pytest.warns(precision.PrecisionWarning, match="cpu has no bfloat16 of its own"):
        assert precision.native_precision("bf16-mixed", cpu) == "32-true"
    assert precision.native_precision("16-mixed", cpu) == "16-mixed"
    monkeypatch.setattr(precision, "has_native_bfloat16", lambda device: True)
    assert precision.native_precision("bf16-mixed", cpu) == "bf16-mixed"
    monkeypatch.undo()
    with torch.backends.mkldnn.flags(enabled=False):
        assert not precision.has_native_bfloat16(cpu)
    assert not precision.has_native_bfloat16(torch.device("mps"))


@pytest.mark.parametrize("name", load.SETS)
def test_the_kernels_are_held_to_an_instruction_set(name):
    code = "from spatial_transformer.ops.cpu import launch, load; print(launch.LEVEL, load.WHY)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, load.CAPABILITY: name},
        capture_output=True,
        text=True,
        check=True,
    )
    level, _, why = done.stdout.partition(" ")
    assert int(level) == load.SETS.index(name)
    if load.LIBRARY is not None and name == "baseline":
        assert "(baseline" in why


def test_a_set_that_is_none_is_refused(monkeypatch):
    monkeypatch.setenv(load.CAPABILITY, "avx3")
    with pytest.raises(Exception, match="STN_CPU_CAPABILITY must be one of baseline, avx2, avx512"):
        load.highest_set()
