"""stn reproduce: run a table of the paper, cell by cell."""

from pathlib import Path
from typing import Annotated

import typer

from spatial_transformer.cli.console import say
from spatial_transformer.cli.options import Compile, DataRoot, Device, Out


def reproduce(
    experiment: Annotated[str, typer.Argument(help="Which table: see `stn list`.")],
    models: Annotated[str, typer.Option(help="Only these rows, such as cnn,st_cnn_affine.")] = "",
    datasets: Annotated[str, typer.Option(help="Only these columns, such as r,rts.")] = "",
    seeds: Annotated[int, typer.Option(min=1, help="How many runs a cell.")] = 1,
    recipe: Annotated[
        str | None, typer.Option(help="How to train: default, or such as paper.")
    ] = None,
    jobs: Annotated[
        int, typer.Option(min=1, help="How many runs at a time; they share the CPU or GPU.")
    ] = 1,
    device: Device = "auto",
    compiled: Compile = False,
    data_root: DataRoot = None,
    out: Out = Path("results"),
    dry_run: Annotated[bool, typer.Option(help="Only name the runs that are missing.")] = False,
) -> None:
    """Run the cells of a table that have no record yet, the most telling ones first, then print
    the table beside the paper's.

    It may be stopped at any point, with Ctrl-C or a kill: give the same command again, and it goes
    on where it was, to the same numbers.

    Examples:

        stn reproduce table1 --seeds 3 --jobs 2

        stn reproduce table1 --models cnn,st_cnn_affine --datasets rts --out runs
    """
    from spatial_transformer.cli.report import own_records, print_table
    from spatial_transformer.experiments.runner.reproduce import missing
    from spatial_transformer.experiments.runner.reproduce import reproduce as run_missing
    from spatial_transformer.experiments.tables.catalogue import find_experiment
    from spatial_transformer.experiments.training.records import load_records

    table = find_experiment(experiment)
    plan = table.plan(models=_names(models), datasets=_names(datasets), seeds=seeds, recipe=recipe)
    if dry_run:
        for config in missing(plan, out):
            say(config.name)
        return
    run_missing(
        plan,
        out,
        data_root=data_root,
        device=device,
        jobs=jobs,
        compiled=compiled,
    )
    records = own_records(table, load_records(out, plan[0].experiment))
    print_table(table.title, *table.table(records))


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
