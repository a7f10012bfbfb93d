"""Fills the tables of a Markdown file from records and benchmark results."""

import json
import re
from collections.abc import Callable, Mapping
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


def demo_table(results: Path) -> str:
    """The networks of `make demo`."""
    return markdown(*error_table(load_records(results, "table1-demo")))


def distortions_table(results: Path) -> str:
    """Digits a second by contestant and number of threads."""
    path = results / "benchmarks" / "distortions.json"
    rows = json.loads(path.read_text())["results"]
    threads = sorted({r["threads"] for r in rows})
    names = list(dict.fromkeys(r["name"] for r in rows))
    speed = {(r["name"], r["threads"]): f"{r['digits_per_second']:,.0f}" for r in rows}
    header = ["", *(f"{n} thread{'s' if n > 1 else ''}" for n in threads)]
    return markdown(header, [[name, *(speed[name, n] for n in threads)] for name in names])


#: a table's name in a Markdown file -> the table, out of a folder of results
TABLES: dict[str, Callable[[Path], str]] = {"demo": demo_table, "distortions": distortions_table}


def fill_readme(
    readme: Path, results: Path, tables: Mapping[str, Callable[[Path], str]] = TABLES
) -> None:
    """Write every marked table of a Markdown file anew from what lies in ``results``.

    Raises: DataError if there is none, or one that is not among ``tables``.
    """
    text = readme.read_text()
    names = re.findall(r"<!-- (\w+) table -->", text)
    if not names:
        raise DataError(f"{readme}: there are no markers for a table")
    for name in names:
        if name not in tables:
            raise DataError(f"{readme}: unknown table {name!r}. Known: {', '.join(tables)}")
        text = fill_table(text, name, tables[name](results))
    write_whole(readme, lambda p: p.write_text(text))
