"""Fills the tables of a Markdown file from records and benchmark results."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from spatial_transformer.errors import DataError
from spatial_transformer.files import write_whole
from spatial_transformer.report import benchmarks as bench
from spatial_transformer.report.exports import export_table
from spatial_transformer.report.table import error_table, markdown
from spatial_transformer.report.tutorial import collapse_table
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


def _speed(results: Path, name: str = "warp") -> bench.Rows:
    rows: bench.Rows = bench.load_results(results / "benchmarks" / f"{name}.json")["speed"]
    return rows


def _step(results: Path, part: str) -> bench.Rows:
    rows: bench.Rows = bench.load_results(results / "benchmarks" / "step.json")[part]
    return rows


def _export(results: Path, dims: int) -> str:
    return export_table(bench.load_results(results / "benchmarks" / "export.json")[str(dims)])


#: by the name in the markers, from the folder of results
TABLES: dict[str, Callable[[Path], str]] = {
    "demo": lambda at: markdown(*error_table(load_records(at, "table1-demo"))),
    "distortions": lambda at: bench.distortions_table(
        bench.load_results(at / "benchmarks" / "distortions.json")
    ),
    "demo latency": lambda at: bench.latency_table(
        bench.load_results(at / "benchmarks" / "demo.json")["latency"]
    ),
    "import": lambda at: bench.import_table(bench.load_results(at / "benchmarks" / "import.json")),
    "machine": lambda at: bench.machine_line(at / "benchmarks" / "warp.json"),
    "speed": lambda at: bench.warp_table(_speed(at)),
    "machine xeon": lambda at: bench.machine_line(at / "benchmarks" / "warp-xeon.json"),
    "speed xeon": lambda at: bench.warp_table(_speed(at, "warp-xeon")),
    "speed without channels_last": lambda at: bench.warp_table(_speed(at), "without channels_last"),
    "speed channels_last": lambda at: bench.warp_table(_speed(at), "channels_last only"),
    "slower": lambda at: "\n".join(bench.loss_lines(_speed(at))),
    "sample": lambda at: bench.shapes_table(_speed(at, "sample")),
    "slower sample": lambda at: "\n".join(bench.loss_lines(_speed(at, "sample"))),
    "machine sample": lambda at: bench.machine_line(at / "benchmarks" / "sample.json"),
    "speed by shape": lambda at: bench.shapes_table(_speed(at)),
    "memory": lambda at: bench.memory_table(
        bench.load_results(at / "benchmarks" / "warp.json")["memory"]
    ),
    "training step": lambda at: bench.rts_table(_step(at, "rts")),
    "export in 2-D": lambda at: _export(at, 2),
    "export in 3-D": lambda at: _export(at, 3),
    "tutorial collapse": lambda at: collapse_table(
        bench.load_results(at / "tutorial" / "collapse.json")
    ),
    "house numbers": lambda at: bench.svhn_table(_step(at, "svhn")),
}


def fill_readme(
    readme: Path, results: Path, tables: Mapping[str, Callable[[Path], str]] = TABLES
) -> None:
    """Write every marked table of a Markdown file anew from what lies in ``results``.

    Raises: DataError if there is none, or one that is not among ``tables``.
    """
    text = readme.read_text()
    names = re.findall(r"<!-- (\w[^>]*) table -->", text)
    if not names:
        raise DataError(f"{readme}: there are no markers for a table")
    for name in names:
        if name not in tables:
            raise DataError(f"{readme}: unknown table {name!r}. Known: {', '.join(tables)}")
        text = fill_table(text, name, tables[name](results))
    write_whole(readme, lambda p: p.write_text(text))
