"""A run from data to record, and the network out of its checkpoint: finite, or an error."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from spatial_transformer.errors import CheckpointError, DivergenceError, OptionError
from spatial_transformer.experiments.data.stream import Stream
from spatial_transformer.experiments.models.build import ModelConfig
from spatial_transformer.experiments.publish import publish
from spatial_transformer.experiments.runner.config import RunConfig
from spatial_transformer.experiments.runner.load import load_model, load_run
from spatial_transformer.experiments.runner.run import run
from spatial_transformer.experiments.tables.table1.config import TABLE1
from spatial_transformer.experiments.training.checkpoint import load_checkpoint, save_checkpoint
from spatial_transformer.experiments.training.recipe import Recipe
from spatial_transformer.finite import not_finite

CELL = TABLE1.cell("r", "st_fcn", recipe="paper")
CONFIG = replace(
    CELL,
    model=replace(CELL.model, parameters=40_000),
    recipe=replace(CELL.recipe, iterations=8, batch_size=16),
)
NAME = "transformer.localisation.head.bias"


def test_one_pixel_ends_a_run_by_the_papers_recipe(tiny, tmp_path, monkeypatch):
    """It used to end with a record of 90.2 % error and a finite loss."""
    assert CONFIG.recipe.clip == 0
    draw = Stream.batch

    def spoilt(stream, k):
        images, labels = draw(stream, k)
        if k == 4:
            images[11, 0, 9, 9] = math.nan
        return images, labels

    options = {"data_root": tiny, "checkpoint_every": 3}
    with monkeypatch.context() as patch:
        patch.setattr(Stream, "batch", spoilt)
        with pytest.raises(DivergenceError) as caught:
            run(CONFIG, tmp_path, **options)
    assert str(caught.value).startswith("step 5: the gradient of transformer.localisation.")
    assert "Batch 4 holds NaN or infinite pixels in images 11." in str(caught.value)
    assert str(CONFIG.checkpoint(tmp_path)) in str(caught.value)
    assert not CONFIG.record(tmp_path).exists()
    trained = load_run(CONFIG.folder(tmp_path))
    assert trained.iteration == 3
    assert not_finite(trained.model.state_dict()) == []
    # and on, with the data as they should be, to what it would have come to
    resumed = run(CONFIG, tmp_path, **options)
    whole = run(CONFIG, tmp_path / "whole", **options)
    for name in ("test_loss", "train_loss", "test_error_percent"):
        assert getattr(resumed, name) == getattr(whole, name)


@pytest.mark.parametrize("average", [0.0, 0.5])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_not_loaded(average, value, tiny, tmp_path):
    config = replace(CONFIG, recipe=replace(CONFIG.recipe, iterations=2, average=average))
    run(config, tmp_path, data_root=tiny)
    file = config.checkpoint(tmp_path)
    state = load_checkpoint(file)
    weights = state["averaged"] if average else state["model"]
    weights[f"module.{NAME}" if average else NAME][2] = value
    save_checkpoint(file, state)
    for load in (load_run, load_model, lambda p: publish(p, tmp_path / "w", data_root=tiny)):
        for path in (file, file.parent):
            with pytest.raises(CheckpointError, match=rf"checkpoint.pt: not finite: {NAME}$"):
                load(path)
    with pytest.raises(CheckpointError, match=rf"checkpoint.pt: not finite: .*{NAME}$"):
        run(config, tmp_path, data_root=tiny)
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda run: run["config"]["model"].update(classes=0),
        lambda run: run["config"]["model"].update(model="st_rnn"),
        lambda run: run["config"].update(seed=-1),
        lambda run: run["config"].update(model=[]),
        lambda run: run["recipe"].update(lr=math.nan),
    ],
    ids=["classes", "model", "seed", "no model", "lr"],
)
def test_a_checkpoint_of_what_cannot_be_is_named(change, tiny, tmp_path):
    config = replace(CONFIG, recipe=replace(CONFIG.recipe, iterations=1))
    run(config, tmp_path, data_root=tiny)
    state = load_checkpoint(config.checkpoint(tmp_path))
    change(state["run"])
    save_checkpoint(config.checkpoint(tmp_path), state)
    with pytest.raises(CheckpointError, match=r"checkpoint.pt: not the checkpoint of a run: "):
        load_run(config.folder(tmp_path))


def test_seeds():
    model = ModelConfig("fcn")
    for seed in (-1, 2**63, 1.0, True, math.nan, "0", None):
        with pytest.raises(OptionError, match="^seed must be a whole number from 0 on.*, got "):
            RunConfig("table1", "r", model, seed)
    assert type(RunConfig("table1", "r", model, np.int64(3)).seed) is int


def test_a_run_of_numpys_numbers_can_be_gone_on_with(tiny, tmp_path):
    recipe = replace(CONFIG.recipe, iterations=np.int64(2), lr=np.float64(0.01))
    config = replace(CONFIG, recipe=recipe, seed=np.int64(1))
    run(config, tmp_path, data_root=tiny)
    assert torch.load(config.checkpoint(tmp_path), weights_only=True)["iteration"] == 2
    assert config.is_recorded(tmp_path)
    assert load_run(config.folder(tmp_path)).config.recipe == Recipe(**vars(recipe))
