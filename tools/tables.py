"""Fills the tables of Markdown files from records and benchmark results.

python -m tools.tables README.md docs/*.md [--results results]
"""

import argparse
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from spatial_transformer.errors import DataError
from spatial_transformer.experiments.report.orderings import orderings_table
from spatial_transformer.experiments.report.table import error_table, markdown
from spatial_transformer.experiments.runner.experiment import Experiment
from spatial_transformer.experiments.tables.catalogue import EXPERIMENTS
from spatial_transformer.experiments.training.records import load_records
from spatial_transformer.files import write_whole
from tools import benchmarks as bench
from tools.exports import export_table
from tools.tutorial import collapse_table


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
    "speed line": lambda at: "\n".join(
        [bench.machine_line(at / "benchmarks" / "warp.json"), bench.speed_line(_speed(at))]
    ),
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


def _errors(experiment: Experiment, name: str, results: Path) -> str:
    """Paper / ours as Markdown, from the records of that name below ``results``."""
    return markdown(*experiment.table(experiment.own(load_records(results, name))))


def _claims(experiment: Experiment, name: str, results: Path) -> str:
    """What the records say of the paper's claims, as Markdown."""
    own = experiment.own(load_records(results, name))
    return markdown(*orderings_table(experiment.orderings(own)))


for _experiment in EXPERIMENTS.values():
    for _name in map(_experiment.recorded_as, _experiment.recipes):
        TABLES[_name] = partial(_errors, _experiment, _name)
        if _experiment.claims:
            TABLES[f"{_name} claims"] = partial(_claims, _experiment, _name)


def fill_tables(page: Path, results: Path) -> None:
    """Write every marked table of a Markdown file anew from what lies in ``results``.

    Raises: DataError if there is none, or one that is not among :data:`TABLES`.
    """
    text = page.read_text()
    names = re.findall(r"<!-- (\w[^>]*) table -->", text)
    if not names:
        raise DataError(f"{page}: there are no markers for a table")
    for name in names:
        if name not in TABLES:
            raise DataError(f"{page}: unknown table {name!r}. Known: {', '.join(TABLES)}")
        text = fill_table(text, name, TABLES[name](results))
    write_whole(page, lambda p: p.write_text(text))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.tables", description=__doc__)
    parser.add_argument("pages", nargs="+", type=Path, help="Markdown files with marked tables")
    parser.add_argument("--results", default=Path("results"), type=Path, help="a folder of records")
    options = parser.parse_args(arguments)
    for page in options.pages:
        fill_tables(page, options.results)


if __name__ == "__main__":
    main()
