"""stn show: a picture of what a trained transformer does."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from spatial_transformer.cli.options import DataRoot, Device, Model


def show(
    model: Model,
    out: Annotated[Path, typer.Option(help="The picture (.png, .pdf or .svg).")] = Path("show.png"),
    count: Annotated[int, typer.Option(min=1, max=32, help="How many digits.")] = 10,
    seed: Annotated[int, typer.Option(help="Which digits, and how they are distorted.")] = 0,
    device: Device = "auto",
    data_root: DataRoot = None,
) -> None:
    """Draw test digits with the predicted grid on them, the transformer's outputs, and the
    predictions with the truth.

    Example:

        stn show runs/table1/rts--st_cnn_affine--seed0 --out rts.png
    """
    import torch

    from spatial_transformer.data.catalogue import make_dataset
    from spatial_transformer.data.stream import generator
    from spatial_transformer.errors import OptionError
    from spatial_transformer.experiments.run import find_model, open_fabric
    from spatial_transformer.models.transformed import Transformed
    from spatial_transformer.viz.sheet import draw_sheet, save_figure

    at = open_fabric(device).device
    trained = find_model(model, at)
    network = trained.model
    if not isinstance(network, Transformed):
        raise OptionError(f"{trained.name} has no spatial transformer to show")
    dataset = make_dataset(trained.dataset)
    images, truth = next(dataset.fixed("test", seed=seed, data_root=data_root, device=at))
    order = torch.randperm(len(truth), generator=generator("cpu", seed, "show"))[:count].to(at)
    images, truth = images[order], truth[order]
    with torch.no_grad():
        logits, warped, theta = network(images, return_warped=True)
    figure = draw_sheet(
        images,
        warped,
        theta,
        network.transformer.transform,
        predicted=logits.argmax(1).tolist(),
        truth=truth.tolist(),
        title=trained.name,
    )
    save_figure(figure, out)
    Console().print(f"wrote {out}", highlight=False, soft_wrap=True)
