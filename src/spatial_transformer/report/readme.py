"""Fills the tables of a Markdown file from records and benchmark results."""

import json
from pathlib import Path

from spatial_transformer.errors import DataError
from spatial_transformer.files import write_whole
from spatial_transformer.report.table import error_table, markdown
from spatial_transformer.training.records import load_records


def fill_table(text: str, name: str, table: str) -> str:
    """``text`` with ``table`` between its markers of that name. Raises: DataError.

    >>> fill_table("<!-- a table -->old<!-- /a table -->", "a", "new")
    '<!-- a table -->\\nnew\\n<!-- /a table -->'
    """
    start, end = f"<!-- {name} table -->", f"<!-- /{name} table -->"
    if start not in text or end not in text:
        raise DataError(f"there are no markers for a table {name!r}")
    before, rest = text.split(start, 1)
    return f"{before}{start}\n{table}\n{end}{rest.split(end, 1)[1]}"


def distortions_table(path: Path) -> str:
    """Digits a second by contestant and number of threads."""
    rows = json.loads(path.read_text())["results"]
    threads = sorted({r["threads"] for r in rows})
    names = list(dict.fromkeys(r["name"] for r in rows))
    speed = {(r["name"], r["threads"]): f"{r['digits_per_second']:,.0f}" for r in rows}
    header = ["", *(f"{n} thread{'s' if n > 1 else ''}" for n in threads)]
    return markdown(header, [[name, *(speed[name, n] for n in threads)] for name in names])


def fill_readme(readme: Path, results: Path) -> None:
    """Write the README's tables anew from what lies in ``results``. Raises: DataError."""
    text = readme.read_text()
    text = fill_table(text, "demo", markdown(*error_table(load_records(results, "table1-demo"))))
    speed = distortions_table(results / "benchmarks" / "distortions.json")
    text = fill_table(text, "distortions", speed)
    write_whole(readme, lambda p: p.write_text(text))
