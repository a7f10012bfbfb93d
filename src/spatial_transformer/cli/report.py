"""stn report: tables of the records in a folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:  # what starts slowly is imported where it is used
    from spatial_transformer.experiments.runner.experiment import Experiment
    from spatial_transformer.experiments.training.records import Record


def report(
    results: Annotated[Path, typer.Argument(help="A folder of records.")] = Path("results"),
    experiment: Annotated[str | None, typer.Option(help="Only this experiment.")] = None,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
) -> None:
    """Print the test errors of all recorded runs: mean, spread and number of seeds.

    Examples:

        stn report runs --markdown

        stn report results --experiment table1
    """
    from spatial_transformer.errors import DataError
    from spatial_transformer.experiments.report.table import error_table, markdown
    from spatial_transformer.experiments.tables.catalogue import find_recorded
    from spatial_transformer.experiments.training.records import load_records

    records = load_records(results, experiment)
    if not records:
        raise DataError(f"{results / experiment if experiment else results}: no records there")
    names = sorted({r.experiment for r in records})
    table = find_recorded(experiment) if experiment else None
    if table is not None:
        records = own_records(table, records)
    for name in names:
        own = [r for r in records if r.experiment == name]
        header, rows = error_table(own) if table is None else table.table(own)
        if as_markdown:
            head = [f"{name}:", ""] if len(names) > 1 else []
            print(*head, markdown(header, rows), sep="\n", end="\n\n" if head else "\n")
        else:
            print_table(f"{name}: test error, %", header, rows)


def own_records(table: "Experiment", records: "list[Record]") -> "list[Record]":
    """The records that belong in an experiment's table; prints how many do not."""
    own = table.own(records)
    if len(own) < len(records):
        typer.echo(
            f"{len(records) - len(own)} of {len(records)} records are not in this table: they are "
            f"of other options than {table.name}'s (stn report without --experiment shows them)",
            err=True,
        )
    return own


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table at its full width: a narrower one would leave out numbers."""
    table = Table(title=title, title_justify="left")
    for i, name in enumerate(header):
        table.add_column(name, justify="left" if i == 0 else "right")
    for row in rows:
        table.add_row(*row)
    console = Console()
    needed = console.measure(table, options=console.options.update(max_width=10_000)).maximum
    Console(width=max(console.width, needed)).print(table)
