"""Each experiment's page: its table is the records', its commands exist."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from tools.tables import fill_tables

from spatial_transformer.errors import DataError
from spatial_transformer.experiments.tables.catalogue import EXPERIMENTS
from spatial_transformer.experiments.training.records import load_records

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "src" / "spatial_transformer" / "experiments" / "tables"


def test_every_experiment_has_a_page():
    pages = {p.parent.name for p in FOLDER.glob("*/README.md")}
    assert pages == set(EXPERIMENTS) == {p.parent.name for p in FOLDER.glob("*/config.py")}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_its_table_is_that_of_the_records(name, tmp_path):
    page = (FOLDER / name / "README.md").read_text()
    copy = tmp_path / "README.md"
    copy.write_text(page)
    fill_tables(copy, ROOT / "results")
    assert copy.read_text() == page, f"python -m tools.tables {FOLDER / name}/README.md"
    assert set(re.findall(r"^    stn reproduce (\w+)", page, re.M)) == {name}


def test_another_recipes_table_has_the_cells_that_it_was_used_for():
    table = EXPERIMENTS["table1"]
    some = [r for r in load_records(ROOT / "results", "table1") if r.dataset in ("r", "rts")]
    whole, rows = table.table(some)
    assert whole == ["paper / ours", "R", "RTS", "P", "E", "TC"]
    assert len(rows) == 8
    some = [replace(r, experiment="table1-long") for r in some if r.model == "fcn"]
    part, rows = table.table(some)
    assert part == ["paper / ours", "R", "RTS"]
    assert [row[0] for row in rows] == ["fcn"]
    assert table.table([])[0] == whole


def test_runs_of_other_options_are_no_results():
    table = EXPERIMENTS["table1"]
    every = load_records(ROOT / "results", "table1")
    assert table.own(every) == every
    record = every[0]
    for other in (
        {"recipe": record.recipe | {"iterations": 20}},
        {"config": record.config | {"data_version": 99}},
        {"experiment": "table1-quick"},
        {"experiment": "table9"},
        {"dataset": "t0"},
        {"model": "locator"},
    ):
        assert table.own([replace(record, **other)]) == []


def test_unknown_tables_are_named(tmp_path):
    page = tmp_path / "README.md"
    page.write_text("<!-- t9 table --><!-- /t9 table -->")
    with pytest.raises(DataError, match="unknown table 't9'. Known: demo"):
        fill_tables(page, tmp_path)
    page.write_text("nothing")
    with pytest.raises(DataError, match="no markers"):
        fill_tables(page, tmp_path)
