"""stn show: pictures of what a trained network does."""

from pathlib import Path
from typing import Annotated

import typer

from spatial_transformer.cli.console import say
from spatial_transformer.cli.options import DataRoot, Device, Model, TestSeed


def show(
    model: Model,
    kind: Annotated[
        str,
        typer.Option(
            help="What to draw: sheet (inputs, grids, outputs, predictions), mistakes (those that "
            "remain, the surest first), means (of each class, before and after), theta (its "
            "distribution), paths (theta through training), curves (loss and error), several of "
            "them with commas, or all."
        ),
    ] = "sheet",
    out: Annotated[
        Path,
        typer.Option(help="The picture (.png, .pdf or .svg); a folder for several kinds."),
    ] = Path("show.png"),
    count: Annotated[int, typer.Option(min=1, max=32, help="How many images.")] = 10,
    seed: TestSeed = 0,
    device: Device = "auto",
    data_root: DataRoot = None,
) -> None:
    """Draw test images with the predicted grid on them, the transformer's outputs, and the
    predictions with the truth; or the mistakes, the mean images, theta, the training curves.

    Examples:

        stn show runs/table1/rts--st_cnn_affine--seed0 --out rts.png

        stn show runs/table1/rts--st_cnn_affine--seed0 --kind all --out pictures
    """
    from spatial_transformer.errors import DataError, OptionError
    from spatial_transformer.experiments.pictures import find_kinds, open_pictures
    from spatial_transformer.experiments.run import open_fabric
    from spatial_transformer.viz.style import save_figure

    kinds = find_kinds([k.strip() for k in kind.split(",")])
    files = {kinds[0]: out}
    if len(kinds) > 1:
        out = Path("show") if out == Path("show.png") else out
        if out.suffix:
            raise OptionError(f"{out}: several kinds of picture need a folder, not a file")
        files = {k: out / f"{k}.png" for k in kinds}
    at = open_fabric(device).device
    pictures = open_pictures(model, count=count, seed=seed, data_root=data_root, device=at)
    for name, file in files.items():
        try:
            save_figure(pictures.draw(name), file)
        except (OptionError, DataError) as error:
            if kind != "all":
                raise
            say(f"no {name}: {error}")
            continue
        say(f"wrote {file}")
