"""stn eval: measure a trained model again."""

from typing import Annotated

import typer

from spatial_transformer.cli.console import say
from spatial_transformer.cli.options import DataRoot, Device, Model, TestSeed


def evaluate(
    model: Model,
    data: Annotated[
        str | None, typer.Option(help="Another data set of the same image size.")
    ] = None,
    seed: TestSeed = 0,
    device: Device = "auto",
    data_root: DataRoot = None,
) -> None:
    """Print a trained model's loss and error on the test images.

    Examples:

        stn eval runs/table1/rts--st_cnn_affine--seed0

        stn eval st_cnn_affine_rts
    """
    from spatial_transformer.errors import OptionError
    from spatial_transformer.experiments.data.catalogue import make_dataset
    from spatial_transformer.experiments.runner.run import check_classifier, find_model, open_fabric
    from spatial_transformer.experiments.training.loop import evaluate as measure

    at = open_fabric(device).device
    trained = find_model(model, at)
    check_classifier(trained.model)
    dataset = make_dataset(data or trained.dataset)
    shape = tuple(trained.config.in_shape)
    if dataset.in_shape != shape:
        raise OptionError(
            f"{dataset.name} has images of {dataset.in_shape}, the model takes {shape}"
        )
    measured = measure(
        trained.model, dataset.fixed("test", seed=seed, data_root=data_root, device=at)
    )
    steps = f" after {trained.run.iteration} steps" if trained.run else ""
    say(
        f"{trained.name}{steps}: {dataset.name} test error "
        f"{measured.error_percent:.2f} %, loss {measured.loss:.4f}, on {measured.images:,} images",
    )
