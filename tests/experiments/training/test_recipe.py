"""Recipes: every option is checked, by name, and is what a file can hold."""

import json
import math
from dataclasses import asdict, fields, replace
from typing import get_args

import numpy as np
import pytest
import torch
from lightning_fabric.connector import _PRECISION_INPUT_STR, _PRECISION_INPUT_STR_ALIAS
from torch import nn

from spatial_transformer.errors import OptionError
from spatial_transformer.experiments.training.recipe import PAPER, PRECISIONS, Recipe, complete
from spatial_transformer.modules.parameters import param_groups

NOTHING = (math.nan, math.inf, -math.inf, True, "1", None, [1])
#: beyond float32
LARGE = (1e39, 10**400)
REFUSED = {
    "iterations": (0, -1, 2.0, *NOTHING),
    "batch_size": (0, -1, 2.5, *NOTHING),
    "optimiser": ("adam", None, 1, []),
    "lr": (0, -1, -0.0, *LARGE, *NOTHING),
    "localisation_lr_scale": (-0.1, *LARGE, *NOTHING),
    "weight_decay": (-1e-9, *LARGE, *NOTHING),
    "momentum": (-0.1, 1, 1.5, *NOTHING),
    "schedule": ("cosine", None, 1, {}),
    "warmup": (0, 1, -0.1, 1.1, *NOTHING),
    "average": (-0.1, 1.0, 2, *NOTHING),
    "clip": (-1, *NOTHING),
    "precision": ("float32", "bf16-mixed ", 32, None, []),
    "channels_last": (1, 0, None, "yes", np.bool_(True)),
    "label_smoothing": (-0.1, 1.0, *NOTHING),
}


def test_every_option_is_looked_at():
    assert set(REFUSED) == {field.name for field in fields(Recipe)}


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, vs in REFUSED.items() for v in vs])
def test_what_cannot_be_is_refused_by_name(name, value):
    with pytest.raises(OptionError, match=f"^{name} must be .*, got ") as caught:
        replace(Recipe(), **{name: value})
    assert str(caught.value).endswith(repr(value))
    with pytest.raises(OptionError, match=f"^{name} must be "):
        complete({"recipe": {name: value}})


def test_the_edges_are_taken():
    Recipe(iterations=1, batch_size=1, lr=1e-300, localisation_lr_scale=0, weight_decay=0)
    Recipe(momentum=0.999, warmup=1e-9, average=0, clip=0, label_smoothing=0)
    assert Recipe(precision="64-true").precision == "64-true"


def test_precisions_are_those_of_fabric():
    assert set(PRECISIONS) == {
        *get_args(_PRECISION_INPUT_STR),
        *get_args(_PRECISION_INPUT_STR_ALIAS),
    }


def test_numbers_of_numpy_become_pythons():
    """Which a record and a checkpoint can hold."""
    recipe = Recipe(iterations=np.int64(7), lr=np.float32(0.5), clip=2)
    assert recipe == Recipe(iterations=7, lr=0.5, clip=2.0)
    assert {type(v) for v in asdict(recipe).values()} == {int, float, str, bool}
    assert Recipe(**json.loads(json.dumps(asdict(recipe)))) == recipe


def test_what_is_newer_than_the_file_did_nothing():
    found = complete({"recipe": {"iterations": 5}, "config": {"seed": 1}})
    assert found["recipe"] == asdict(Recipe(iterations=5))
    assert found["config"] == {"data_version": 1, "start": None, "seed": 1}
    start = {"recipe": {}, "config": {"model": {"classes": 3}}}
    found = complete({"recipe": {}, "config": {"model": {"classes": 4}, "start": start}})
    assert found["config"]["model"] == {"classes": 4, "length": 1}
    assert found["config"]["start"]["config"]["model"] == {"classes": 3, "length": 1}
    assert found["config"]["start"]["recipe"] == asdict(Recipe())


@pytest.mark.parametrize("schedule", ["one_cycle", "step"])
@pytest.mark.parametrize("warmup", [0.1, 0.5, 1 / 3, 1e-3, 0.999])
def test_every_number_of_steps_has_rates(schedule, warmup):
    for iterations in range(1, 40):
        recipe = Recipe(iterations, lr=0.5, schedule=schedule, warmup=warmup)
        optimiser, plan = recipe.build(nn.Linear(1, 1))
        rates = []
        for _ in range(iterations):
            rates += plan.get_last_lr()
            optimiser.step()
            plan.step()
        assert all(0 < rate <= 0.5 * (1 + 1e-9) for rate in rates), (iterations, rates)


def test_rates_of_groups_are_numbers():
    """A group's are checked by no optimiser of torch's."""
    model = nn.Linear(1, 1)
    for bad in (-1, math.nan, math.inf, True, "1", torch.tensor(-0.1)):
        with pytest.raises(OptionError, match="^lr must be a number in "):
            param_groups(model, bad)
        with pytest.raises(OptionError, match="^localisation_lr_scale must be a number in "):
            param_groups(model, 0.1, bad)
    with pytest.raises(OptionError, match=r"^lr \* localisation_lr_scale must be a number in "):
        Recipe(lr=1e20, localisation_lr_scale=1e20).build(model)
    rate = torch.tensor(0.1)
    assert param_groups(model, rate)[0]["lr"] is rate
    assert param_groups(model, 0.0)[0]["lr"] == 0
    assert PAPER.build(model)[0].param_groups[0]["lr"] == 0.01
