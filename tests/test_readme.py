"""The README tells the truth: its code runs, its tables are the records', its commands exist."""

import re
from pathlib import Path

import pytest
from tools.tables import fill_table, fill_tables

from spatial_transformer.cli.app import app
from spatial_transformer.errors import DataError

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_its_first_example_has_ten_lines():  # that it runs: tests/docs/test_pages.py
    blocks = re.findall(r"```python\n(.*?)```", README, re.S)
    assert len(blocks) >= 2
    assert len([line for line in blocks[0].splitlines() if line.strip()]) == 10


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize(
    "page", [p.relative_to(ROOT).as_posix() for p in PAGES if " table -->" in p.read_text()]
)
def test_its_tables_are_those_of_the_records(page, tmp_path):
    copy = tmp_path / "copy.md"
    copy.write_text((ROOT / page).read_text())
    fill_tables(copy, ROOT / "results")
    assert copy.read_text() == (ROOT / page).read_text()


def test_its_files_and_commands_exist():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target
    known = {c.name for c in app.registered_commands}
    used = re.findall(r"^    stn (\w+)", README, re.M)
    assert used
    assert set(used) <= known
    make = (ROOT / "Makefile").read_text()
    for goal in re.findall(r"^    make (\w+)", README, re.M):
        assert f"\n{goal}: " in make


def test_a_missing_marker_is_named():
    with pytest.raises(DataError, match="no markers for a table 'x'"):
        fill_table("", "x", "")
