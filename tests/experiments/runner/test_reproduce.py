"""A table: its cells in order, run once each, to the same numbers however often it is killed."""

import io
import json
from dataclasses import replace
from functools import partial

import pytest
from rich.console import Console

from spatial_transformer.errors import CheckpointError, OptionError, UnknownNameError
from spatial_transformer.experiments.runner.reproduce import expected_seconds, missing, reproduce
from spatial_transformer.experiments.runner.run import run
from spatial_transformer.experiments.tables.catalogue import EXPERIMENTS
from spatial_transformer.experiments.tables.table1.config import TABLE1
from spatial_transformer.experiments.training.checkpoint import load_checkpoint
from spatial_transformer.experiments.training.progress import ProgressBar
from spatial_transformer.experiments.training.records import load_records

#: what a killed and resumed run must share with one that was not
NUMBERS = ("test_error_percent", "validation_error_percent", "test_loss", "train_loss")


class TestPlan:
    def test_the_most_telling_cells_come_first_and_seeds_one_after_the_other(self):
        plan = TABLE1.plan(seeds=3)
        assert len(plan) == len({c.name for c in plan}) == 3 * 8 * 5
        first = [c.name for c in plan[:6]]
        assert first == [f"{d}--{m}--seed0" for d in ("rts", "r", "tc")
                         for m in ("st_cnn_affine", "cnn")]  # fmt: skip
        assert [c.seed for c in plan] == sorted(c.seed for c in plan)
        rest = [c.model.model for c in plan[6:40]]
        assert rest.index("st_cnn") < rest.index("st_fcn") < rest.index("fcn")
        assert rest[-5:] == ["fcn"] * 5

    def test_parts_of_it(self):
        plan = TABLE1.plan(models=["fcn"], datasets=["e", "p"], recipe="paper")
        assert [c.name for c in plan] == ["p--fcn--seed0", "e--fcn--seed0"]
        assert {c.recipe.iterations for c in plan} == {150_000}
        assert {c.experiment for c in plan} == {"table1-paper"}
        with pytest.raises(UnknownNameError, match="unknown data set 'x'"):
            TABLE1.plan(datasets=["x"])
        with pytest.raises(OptionError, match="seeds must be"):
            TABLE1.plan(seeds=0)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_is_whole(name):
    table = EXPERIMENTS[name]
    labels = table.labels()
    assert len(set(labels)) == len(labels)
    assert {(m, d) for m, d in table.paper} <= {(m, d) for m in labels for d in table.datasets}
    assert set(table.first[0]) <= set(labels)
    assert set(table.first[1]) <= set(table.datasets)
    for k, recipe in enumerate(table.recipes):
        folder = f"{name}-{recipe}" if k else name
        assert {c.experiment for c in table.plan(recipe=recipe)} == {folder}
    assert set(table.changes) <= set(table.recipes)
    models = {m for m, _ in table.models}
    assert {m for changes in table.changes.values() for m in changes} <= models


def small_plan():
    """Three cells of table 1, a few steps each."""
    plan = TABLE1.plan(datasets=["r"], models=["fcn", "st_fcn_affine", "cnn"])
    return [
        replace(
            c,
            recipe=replace(c.recipe, iterations=11, batch_size=16),
            model=replace(c.model, parameters=40_000),
        )
        for c in plan
    ]


def quiet():
    return Console(file=io.StringIO(), width=1000)


def numbers(out):
    return {
        r.path: [getattr(r, n) for n in (*NUMBERS, "iterations", "recipe", "config")]
        for r in load_records(out)
    }


@pytest.mark.slow
def test_a_table_killed_at_any_step_ends_in_the_same_numbers(tiny, tmp_path, monkeypatch):
    run_one = partial(run, checkpoint_every=4)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    reproduce(small_plan(), whole, data_root=tiny, console=quiet(), run_one=run_one)
    assert len(numbers(whole)) == 3

    step = ProgressBar.step

    def kill_at(which, iteration):
        def dying(self, k, loss, error):
            step(self, k, loss, error)
            if which in self.label and k == iteration:
                raise KeyboardInterrupt

        return dying

    for which, iteration in (("cnn", 6), ("cnn", 9), ("st_fcn", 11), ("--fcn", 1)):
        monkeypatch.setattr(ProgressBar, "step", kill_at(which, iteration))
        with pytest.raises(KeyboardInterrupt):
            reproduce(small_plan(), killed, data_root=tiny, console=quiet(), run_one=run_one)
    monkeypatch.setattr(ProgressBar, "step", step)
    reproduce(small_plan(), killed, data_root=tiny, console=quiet(), run_one=run_one)
    assert numbers(killed) == numbers(whole)


@pytest.mark.slow
def test_runs_are_compiled_when_asked(tiny, tmp_path):
    plan = small_plan()[:1]
    for compiled in (False, True):
        out = tmp_path / str(compiled)
        (record,) = reproduce(plan, out, data_root=tiny, console=quiet(), compiled=compiled)
        assert record.hardware.endswith(", compiled") == compiled


@pytest.mark.slow
def test_what_is_recorded_is_not_run_again(tiny, tmp_path):
    plan = small_plan()
    console = quiet()
    done = reproduce(plan[:2], tmp_path, data_root=tiny, console=console)
    assert [r.path for r in done] == [c.record(tmp_path).relative_to(tmp_path) for c in plan[:2]]
    said = console.file.getvalue()
    assert "2 runs, 0 recorded" in said
    assert "1 of 2 runs recorded" in said
    assert " left" in said
    stamps = [c.record(tmp_path).stat().st_mtime_ns for c in plan[:2]]
    assert [c.name for c in missing(plan, tmp_path)] == [plan[2].name]
    assert len(reproduce(plan, tmp_path, data_root=tiny, console=quiet())) == 1
    assert [c.record(tmp_path).stat().st_mtime_ns for c in plan[:2]] == stamps
    # a record of another recipe, or of another network, is not this cell's
    longer = [replace(plan[0], recipe=replace(plan[0].recipe, iterations=12))]
    assert missing(longer, tmp_path) == longer
    wider = [replace(plan[0], model=replace(plan[0].model, parameters=50_000))]
    assert missing(wider, tmp_path) == wider
    plan[0].record(tmp_path).write_text("{")
    with pytest.raises(CheckpointError, match="not a record"):
        missing(plan, tmp_path)


def test_a_network_that_cannot_be_built_is_named_before_anything_runs(tiny, tmp_path):
    plan = small_plan()
    plan[2] = replace(plan[2], model=replace(plan[2].model, parameters=100))
    with pytest.raises(OptionError, match=f"{plan[2].name} cannot be built: a budget of"):
        reproduce(plan, tmp_path, data_root=tiny, console=quiet())
    assert not load_records(tmp_path)


def test_what_runs_need_is_made_before_them(tiny, tmp_path):
    cell, needed = small_plan()[:2]
    cell = replace(cell, start=needed)
    seen = []

    def run_one(config, out, **options):
        seen.append((config.name, needed.is_recorded(out)))
        return run(config, out, **options)

    options = {"data_root": tiny, "console": quiet(), "run_one": run_one}
    reproduce([cell], tmp_path, **options)
    assert seen == [(cell.name, True)]
    needed.record(tmp_path).unlink()
    reproduce([cell], tmp_path, **options)  # nothing is missing, so nothing is needed
    assert not needed.is_recorded(tmp_path)


@pytest.mark.slow
def test_a_cell_is_made_again_in_spite_of_another_recipes_checkpoint(tiny, tmp_path):
    (config,) = small_plan()[:1]
    reproduce([config], tmp_path, data_root=tiny, console=quiet())
    longer = replace(config, recipe=replace(config.recipe, iterations=13))
    assert config.steps_done(tmp_path) == 11
    assert longer.steps_done(tmp_path) is None
    console = quiet()
    (record,) = reproduce([longer], tmp_path, data_root=tiny, console=console)
    assert record.iterations == 13
    assert "another recipe's checkpoint is kept as" in console.file.getvalue()
    kept = load_checkpoint(config.folder(tmp_path) / "checkpoint-old.pt")
    assert kept["iteration"] == 11


def test_another_runs_broken_record_stops_nothing(tiny, tmp_path):
    plan = small_plan()[:2]
    broken = plan[0].record(tmp_path).with_name("r--fcn--seed9.json")
    broken.parent.mkdir(parents=True)
    broken.write_text("{")
    console = quiet()
    assert len(reproduce(plan, tmp_path, data_root=tiny, console=console)) == 2
    said = console.file.getvalue().replace("\n", "")
    assert f"time left unknown ({broken}: not a record" in said


def test_what_has_no_labels_is_no_classifiers(tiny, tmp_path):
    with pytest.raises(OptionError, match="'t0' has no labels: the experiment colocalisation"):
        run(TABLE1.cell("t0", "cnn"), tmp_path, data_root=tiny)


def test_time_left_is_that_of_the_nearest_records(tiny, tmp_path):
    plan = small_plan()
    (record,) = reproduce(plan[:1], tmp_path, data_root=tiny, console=quiet())
    assert expected_seconds(plan[0], []) is None
    same = replace(record, wall_seconds=22.0)
    other = replace(record, dataset="tc", wall_seconds=110.0)
    assert expected_seconds(plan[0], [other, same]) == pytest.approx(22.0)
    assert expected_seconds(plan[0], [other]) == pytest.approx(110.0)
    twice = replace(plan[0], recipe=replace(plan[0].recipe, iterations=22))
    assert expected_seconds(twice, [same]) == pytest.approx(44.0)
    assert json.loads(plan[0].record(tmp_path).read_text())["experiment"] == "table1"
