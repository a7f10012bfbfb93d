"""The experiment on traffic signs, from files to record, table and pictures."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from spatial_transformer.cli.app import app
from spatial_transformer.experiments.data.gtsrb import Gtsrb
from spatial_transformer.experiments.models.build import build_model, count_parameters
from spatial_transformer.experiments.publish import train_command
from spatial_transformer.experiments.runner.run import run
from spatial_transformer.experiments.tables.gtsrb import config as gtsrb


def test_the_page_tells_the_parameters_of_every_network():
    source = Path(__file__).parents[3] / "src/spatial_transformer/experiments/tables/gtsrb"
    page = (source / "README.md").read_text()
    rows = re.findall(r"^\| (\w*idsia\w*) \| ([\d,]+) \| ([\d,]+) \|$", page, re.M)
    assert tuple(row[0] for row in rows) == gtsrb.GTSRB.labels()
    for column, recipe in ((1, "default"), (2, "paper")):
        for row, (model, transform) in zip(rows, gtsrb.GTSRB.models, strict=True):
            cell = gtsrb.GTSRB.cell("gtsrb", model, transform, recipe=recipe)
            with torch.device("meta"):
                assert row[column] == f"{count_parameters(build_model(cell.model)):,}"


def test_its_cells_are_padded_with_the_border():
    for cell in gtsrb.GTSRB.plan():
        assert cell.model.padding == "border"
        assert (cell.model.in_shape, cell.model.classes) == ((3, 32, 32), 43)
    cell = gtsrb.GTSRB.cell("gtsrb48", "st_idsia", "similarity", recipe="smoke")
    assert train_command(cell) == (
        "stn train --experiment gtsrb --data gtsrb48 --model st_idsia --transform similarity "
        "--recipe smoke --seed 0"
    )


@pytest.mark.slow
def test_the_smoke_recipe_from_files_to_pictures(signs, tmp_path):
    runner = CliRunner()
    where = ["--data-root", str(signs)]
    out = tmp_path / "runs"
    words = ["reproduce", "gtsrb", "--recipe", "smoke", "--models", "st2_idsia_affine"]
    result = runner.invoke(app, [*words, "--out", str(out), *where])
    assert result.exit_code == 0, result.output
    assert "0.33 / " in result.output
    folder = out / "gtsrb-smoke" / "gtsrb--st2_idsia_affine--seed0"
    result = runner.invoke(app, ["eval", str(folder), "--by-class", *where])
    assert result.exit_code == 0, result.output
    assert "on 86 images" in result.output
    assert "no overtaking for lorries" in result.output
    pictures = tmp_path / "pictures"
    result = runner.invoke(
        app, ["show", str(folder), "--kind", "all", "--out", str(pictures), *where]
    )
    assert result.exit_code == 0, result.output
    assert {p.stem for p in pictures.iterdir()} >= {"sheet", "means", "theta", "paths", "curves"}
    film = tmp_path / "training.gif"
    words = ["film", str(folder), "--what", "training", "--frames", "3", "--out", str(film)]
    result = runner.invoke(app, [*words, *where])
    assert result.exit_code == 0, result.output
    assert film.stat().st_size
    result = runner.invoke(app, ["film", str(folder), "--out", str(film), *where])
    assert "there is no motion for 'gtsrb'" in str(result.exception)


def test_a_run_ends_with_a_record_of_its_own(signs, tmp_path):
    cell = gtsrb.GTSRB.cell("gtsrb", "st_idsia", recipe="smoke")
    short = replace(cell, recipe=replace(cell.recipe, iterations=3, batch_size=16))
    record = run(short, tmp_path, data_root=signs)
    assert record.test_images == 86
    assert gtsrb.GTSRB.own([record]) == []  # not as many steps as the recipe's
    assert gtsrb.GTSRB.own([replace(record, recipe=vars(cell.recipe))]) != []
    assert Gtsrb().version == record.config["data_version"]
