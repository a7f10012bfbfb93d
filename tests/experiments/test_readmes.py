"""Each experiment's page: its table is the records', its commands exist."""

import re
from pathlib import Path

import pytest

from spatial_transformer.errors import DataError
from spatial_transformer.experiments.catalogue import EXPERIMENTS, TABLES
from spatial_transformer.report.readme import fill_readme

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "src" / "spatial_transformer" / "experiments"


def test_every_experiment_has_a_page():
    pages = {p.parent.name for p in FOLDER.glob("*/README.md")}
    assert pages == set(EXPERIMENTS) == {p.parent.name for p in FOLDER.glob("*/config.py")}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_its_table_is_that_of_the_records(name, tmp_path):
    page = (FOLDER / name / "README.md").read_text()
    copy = tmp_path / "README.md"
    copy.write_text(page)
    fill_readme(copy, ROOT / "results", TABLES)
    assert copy.read_text() == page, f"stn report results --readme {FOLDER / name}/README.md"
    assert set(re.findall(r"^    stn reproduce (\w+)", page, re.M)) == {name}


def test_unknown_tables_are_named(tmp_path):
    page = tmp_path / "README.md"
    page.write_text("<!-- t9 table --><!-- /t9 table -->")
    with pytest.raises(DataError, match="unknown table 't9'. Known: demo"):
        fill_readme(page, tmp_path, TABLES)
    page.write_text("nothing")
    with pytest.raises(DataError, match="no markers"):
        fill_readme(page, tmp_path, TABLES)
