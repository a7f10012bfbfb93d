"""stn eval: measure a trained model again."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from spatial_transformer.cli.options import DataRoot, Device, Run


def evaluate(
    run: Run,
    data: Annotated[
        str | None, typer.Option(help="Another data set of the same image size.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the fixed test set.")] = 0,
    device: Device = "auto",
    data_root: DataRoot = None,
) -> None:
    """Print a trained model's loss and error on the 10,000 distorted test digits.

    Example:

        stn eval runs/table1/rts--st_cnn_affine--seed0
    """
    from spatial_transformer.data.stream import fixed_set, make_distortion
    from spatial_transformer.errors import OptionError
    from spatial_transformer.experiments.run import load_digits, load_trained, open_fabric
    from spatial_transformer.training.loop import evaluate as measure

    at = open_fabric(device).device
    trained = load_trained(Path(run), at)
    distortion = make_distortion(data or trained.config.dataset)
    size = trained.config.model.in_shape[-1]
    if distortion.size != size:
        raise OptionError(
            f"{distortion.name} has images of {distortion.size} pixels, the model takes {size}"
        )
    images, labels = fixed_set(load_digits("test", data_root, at), distortion, seed)
    loss, error = measure(trained.model, images, labels)
    Console().print(
        f"{trained.config.name} after {trained.iteration} steps: {distortion.name} test error "
        f"{error:.2f} %, loss {loss:.4f}, on {len(labels):,} images",
        highlight=False,
        soft_wrap=True,
    )
