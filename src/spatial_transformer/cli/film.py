"""stn film: a trained network in motion."""

from pathlib import Path
from typing import Annotated

import typer

from spatial_transformer.cli.console import say
from spatial_transformer.cli.options import DataRoot, Device, Model

WHAT = ("motion", "training")


def film(
    model: Model,
    what: Annotated[
        str,
        typer.Option(
            help="motion: digits move under the trained transformer. training: a few images while "
            "the network learns."
        ),
    ] = "motion",
    out: Annotated[Path, typer.Option(help="The film: .gif, or .mp4 (needs ffmpeg).")] = Path(
        "film.gif"
    ),
    count: Annotated[
        int | None, typer.Option(min=1, max=10, help="How many images: 3, or 10 of training.")
    ] = None,
    frames: Annotated[int, typer.Option(min=2, max=600, help="How many frames.")] = 80,
    rate: Annotated[float, typer.Option(min=1, max=60, help="Frames a second.")] = 15,
    seed: Annotated[int, typer.Option(help="Which digits move.")] = 0,
    device: Device = "auto",
    data_root: DataRoot = None,
) -> None:
    """Film a trained network: digits that turn and move, with the grid that follows them and the
    output that keeps still; or how grid and output came about in training.

    Examples:

        stn film runs/table1/rts--st_cnn_affine--seed0 --out rts.gif

        stn film runs/table1/rts--st_cnn_affine--seed0 --what training --out learning.mp4
    """
    from spatial_transformer.errors import OptionError
    from spatial_transformer.experiments.runner.pictures import open_pictures
    from spatial_transformer.experiments.training.device import find_device
    from spatial_transformer.viz.film import check_film, save_film

    if what not in WHAT:
        raise OptionError(f"there is no film of {what!r}. Known: {', '.join(WHAT)}")
    check_film(out)
    at = find_device(device)
    pictures = open_pictures(
        model,
        count=count or (3 if what == "motion" else 10),
        seed=seed,
        data_root=data_root,
        device=at,
    )
    draw = pictures.motion_film if what == "motion" else pictures.training_film
    drawn = save_film(draw(frames), out, rate=rate, hold=0 if what == "motion" else 1.5)
    say(
        f"wrote {out}: {drawn} frames, {out.stat().st_size / 1e6:.2f} MB",
    )
