"""Inverse-compositional transformers: every cell runs, is recorded, is shown and filmed."""

import io
from dataclasses import replace

import pytest
import torch
from rich.console import Console

from spatial_transformer.errors import OptionError
from spatial_transformer.experiments.data.catalogue import make_dataset
from spatial_transformer.experiments.models.build import build_model
from spatial_transformer.experiments.runner.pictures import KINDS, Pictures, open_pictures
from spatial_transformer.experiments.runner.reproduce import missing, reproduce
from spatial_transformer.experiments.tables.icstn.config import ICSTN
from spatial_transformer.viz import find_stages


def test_networks_have_the_capacity_that_the_paper_gives():
    for recipe in ICSTN.recipes:
        budgets = {c.model.parameters for c in ICSTN.plan(recipe=recipe)}
        assert budgets == {39_048}


@pytest.mark.slow
def test_every_cell_runs_by_the_smoke_recipe(tiny, tmp_path):
    plan = ICSTN.plan(recipe="smoke")
    console = Console(file=io.StringIO(), width=1000)
    records = reproduce(plan, tmp_path, data_root=tiny, console=console)
    assert not missing(plan, tmp_path)
    assert ICSTN.own(records) == records
    parameters = {r.model: r.parameters for r in records}
    assert parameters.pop("small") == 39_079
    assert set(parameters.values()) == {39_048}
    header, rows = ICSTN.table(records)
    assert header == ["paper / ours", "PERTURBED"]
    assert [row[0] for row in rows] == list(ICSTN.labels())
    assert not any(row[1].endswith("/ -") for row in rows)


def untrained(model, tiny):
    config = ICSTN.cell("perturbed", model, "projective").model
    data = make_dataset("perturbed")
    return Pictures(build_model(config).eval(), data, model, count=3, data_root=tiny)


@pytest.mark.parametrize("model", ["st_ic2", "st_series2"])
def test_its_stages_are_drawn(model, tiny):
    pictures = untrained(model, tiny)
    (axes,) = pictures.draw("stages").axes
    assert len(axes.images) == 3 * 2 * 2  # images, stages, before and after
    images = torch.rand(2, 1, 28, 28)
    _, _, theta = pictures.model(images, return_warped=True)
    torch.testing.assert_close(find_stages(pictures.model, images)[-1].theta, theta)


@pytest.mark.parametrize(
    ("model", "message"),
    [("st_small", "a transformer of one stage"), ("small", "has no spatial transformer")],
)
def test_what_has_no_stages_says_so(model, message, tiny):
    with pytest.raises(OptionError, match=message):
        untrained(model, tiny).draw("stages")


@pytest.mark.slow
def test_it_is_shown_and_filmed(tiny, tmp_path):
    config = ICSTN.cell("perturbed", "st_series2", "projective", recipe="smoke")
    config = replace(config, recipe=replace(config.recipe, iterations=2, batch_size=8))
    reproduce([config], tmp_path, data_root=tiny, console=Console(file=io.StringIO()))
    pictures = open_pictures(str(config.folder(tmp_path)), count=3, data_root=tiny)
    for kind in KINDS:
        assert pictures.draw(kind).axes
    assert len(list(pictures.training_film(2))) == 2
    assert len(list(pictures.motion_film(2))) == 2
