"""stn show: pictures of what a trained network does."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from spatial_transformer.cli.console import say
from spatial_transformer.cli.options import DataRoot, Device, Model, TestSeed

if TYPE_CHECKING:
    from spatial_transformer.experiments.runner.pictures import Pictures


def show(
    model: Model,
    kind: Annotated[
        str,
        typer.Option(
            help="What to draw: sheet (inputs, grids, outputs, predictions), stages (inputs after "
            "each step of a cascade), mistakes (those that remain, the surest first), means (of "
            "each class, before and after), theta (its distribution), paths (theta through "
            "training), curves (loss and error), several of them with commas, or all."
        ),
    ] = "sheet",
    out: Annotated[
        Path,
        typer.Option(help="The picture (.png, .pdf or .svg); a folder for several."),
    ] = Path("show.png"),
    count: Annotated[int, typer.Option(min=1, max=32, help="How many images.")] = 10,
    seed: TestSeed = 0,
    device: Device = "auto",
    data_root: DataRoot = None,
) -> None:
    """Draw test images with the predicted grid on them, the transformer's outputs, and the
    predictions with the truth; or the mistakes, the mean images, theta, the training curves. Of a
    folder of runs, such as a table's, each run is drawn.

    Examples:

        stn show runs/table1/rts--st_cnn_affine--seed0 --out rts.png

        stn show runs/table1/rts--st_cnn_affine--seed0 --kind all --out pictures

        stn show runs/table1 --kind sheet,mistakes --out pictures
    """
    from spatial_transformer.errors import OptionError
    from spatial_transformer.experiments.runner.load import find_runs
    from spatial_transformer.experiments.runner.pictures import find_kinds, open_pictures
    from spatial_transformer.experiments.training.device import find_device

    kinds = find_kinds([k.strip() for k in kind.split(",")])
    runs = [str(run) for run in find_runs(model)]
    alone = not runs and len(kinds) == 1
    if not alone:
        out = Path("show") if out == Path("show.png") else out
        if out.suffix:
            raise OptionError(f"{out}: several pictures need a folder, not a file")
    at = find_device(device)
    for one in runs or [model]:
        pictures = open_pictures(one, count=count, seed=seed, data_root=data_root, device=at)
        folder = out / Path(one).name if runs else out
        files = {kinds[0]: out} if alone else {k: folder / f"{k}.png" for k in kinds}
        _draw(pictures, files, optional=bool(runs) or kind == "all")


def _draw(pictures: "Pictures", files: dict[str, Path], *, optional: bool) -> None:
    """Draw a picture of each kind into its file.

    With ``optional``, kinds that the run has no data for are reported rather than an error.
    """
    from spatial_transformer.errors import DataError, OptionError
    from spatial_transformer.viz.style import save_figure

    for name, file in files.items():
        try:
            save_figure(pictures.draw(name), file)
        except (OptionError, DataError) as error:
            if not optional:
                raise
            say(f"no {name}: {error}")
            continue
        say(f"wrote {file}")
