"""stn eval: measure a trained model again."""

from typing import Annotated, Any

import typer

from spatial_transformer.cli.console import say
from spatial_transformer.cli.options import DataRoot, Device, Model, TestSeed


def evaluate(
    model: Model,
    data: Annotated[
        str | None, typer.Option(help="Another data set of the same image size.")
    ] = None,
    by_class: Annotated[bool, typer.Option("--by-class", help="The errors of each class.")] = False,
    seed: TestSeed = 0,
    device: Device = "auto",
    data_root: DataRoot = None,
) -> None:
    """Print a trained model's loss and error on the test images, and of each class if asked for.

    Examples:

        stn eval runs/table1/rts--st_cnn_affine--seed0

        stn eval st_cnn_affine_rts --by-class
    """
    from spatial_transformer.cli.report import print_table
    from spatial_transformer.errors import OptionError
    from spatial_transformer.experiments.data.catalogue import make_dataset
    from spatial_transformer.experiments.report.table import class_table
    from spatial_transformer.experiments.runner.load import load_model
    from spatial_transformer.experiments.runner.tasks import task_of
    from spatial_transformer.experiments.training.device import find_device

    at = find_device(device)
    trained = load_model(model, at)
    dataset = make_dataset(data or trained.dataset)
    task = task_of(dataset)
    task.check(trained.model, dataset, start=True)
    shape = tuple(trained.config.in_shape)
    if dataset.in_shape != shape:
        raise OptionError(
            f"{dataset.name} has images of {dataset.in_shape}, the model takes {shape}"
        )
    if task.measures_own_images and trained.run is not None:
        seed = trained.run.config.seed
    where: dict[str, Any] = {"data_root": data_root, "device": at}
    result = task.evaluate(trained.model, dataset, "test", seed=seed, **where)
    steps = f" after {trained.run.iteration} steps" if trained.run else ""
    say(
        f"{trained.name}{steps}: {dataset.name} test error "
        f"{result.error_percent:.2f} %{result.loss_text}, on {result.images:,} images",
    )
    if by_class:
        if not result.by_class:
            raise OptionError(f"{dataset.name} has no classes to tell apart, for --by-class")
        print_table(
            f"{dataset.name}: errors by class", *class_table(result.by_class, dataset.labels)
        )
