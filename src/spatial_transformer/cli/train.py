"""stn train: train one model on one data set and record its errors."""

from pathlib import Path
from typing import Annotated

import typer

from spatial_transformer.cli.console import say
from spatial_transformer.cli.options import Compile, DataRoot, Device, Out, Seed


def train(
    context: typer.Context,
    data: Annotated[
        str | None, typer.Option(help="Data set: see `stn list`. If only a model is given: rts.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Model: see `stn list`. If only data are given: st_cnn.")
    ] = None,
    transform: Annotated[str, typer.Option(help="The transformer's family.")] = "affine",
    recipe: Annotated[
        str | None, typer.Option(help="default, quick or paper, say, as the experiment has it.")
    ] = None,
    iterations: Annotated[int | None, typer.Option(help="Steps, instead of the recipe's.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Instead of the recipe's.")] = None,
    parameters: Annotated[
        int | None, typer.Option(help="Budget of the whole network, instead of the recipe's.")
    ] = None,
    experiment: Annotated[str, typer.Option(help="In whose manner: see `stn list`.")] = "table1",
    seed: Seed = 0,
    device: Device = "auto",
    compiled: Compile = False,
    data_root: DataRoot = None,
    out: Out = Path("runs"),
    tensorboard: Annotated[bool, typer.Option(help="Log for TensorBoard as well.")] = False,
) -> None:
    """Train a model, measure it on the validation and test digits, and write a record.

    A run that was stopped goes on where its last checkpoint left it: give the same command again.

    Examples:

        stn train --data rts --model st_cnn --transform affine --recipe demo

        stn train --data r --model cnn --seed 1 --iterations 3000 --out runs
    """
    if data is None and model is None:
        say(context.get_help())
        raise typer.Exit(2)
    from dataclasses import replace

    from spatial_transformer.experiments.runner.run import run
    from spatial_transformer.experiments.tables.catalogue import find_experiment
    from spatial_transformer.experiments.training.progress import Callback, ProgressBar, TensorBoard

    table = find_experiment(experiment)
    config = table.cell(data or "rts", model or "st_cnn", transform, recipe=recipe, seed=seed)
    changed = {"iterations": iterations, "batch_size": batch_size}
    changes = {k: v for k, v in changed.items() if v is not None}
    config = replace(config, recipe=replace(config.recipe, **changes))  # type: ignore[arg-type]
    if parameters is not None:
        config = replace(config, model=replace(config.model, parameters=parameters))
    callbacks: list[Callback] = [ProgressBar(config.name, config.recipe.iterations)]
    if tensorboard:
        callbacks.append(TensorBoard(config.folder(out) / "tensorboard"))
    record = run(
        config, out, data_root=data_root, device=device, callbacks=callbacks, compiled=compiled
    )
    say(
        f"{config.name}: test error {record.test_error_percent:.2f} % on {record.test_images:,} "
        f"images, {record.parameters:,} parameters, {record.wall_seconds:.0f} s, "
        f"record {out / record.path}",
    )
