"""stn animate: watch a locator learn."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from spatial_transformer.cli.options import DataRoot, Device, Seed


def animate(
    data: Annotated[str, typer.Argument(help="A set of co-localisation: t0 to t9, tc0 to tc9.")],
    results: Annotated[
        Path, typer.Option(help="Where `stn reproduce colocalisation` has trained its digit CNN.")
    ] = Path("results"),
    out: Annotated[Path, typer.Option(help="The animation (.gif).")] = Path("animation.gif"),
    images: Annotated[int, typer.Option(min=1, max=10, help="How many images.")] = 3,
    every: Annotated[int, typer.Option(min=1, help="Steps between two frames.")] = 10,
    seed: Seed = 0,
    device: Device = "auto",
    data_root: DataRoot = None,
) -> None:
    """Train a locator and draw, step by step, where it looks (orange) and where the digit is
    (green).

    Example:

        stn animate tc8 --out tc8.gif
    """
    from spatial_transformer.experiments.colocalisation.animate import animate as draw
    from spatial_transformer.experiments.colocalisation.config import COLOCALISATION
    from spatial_transformer.viz.boxes import save_animation

    (config, *_) = COLOCALISATION.plan(datasets=[data], seeds=seed + 1)[seed:]
    frames = draw(config, results, images=images, every=every, data_root=data_root, device=device)
    save_animation(frames, out)
    Console().print(f"wrote {out}", highlight=False, soft_wrap=True)
