"""stn demo: trained networks and transforms in the browser."""

from pathlib import Path
from typing import Annotated

import typer

from spatial_transformer.cli.console import say
from spatial_transformer.cli.options import DataRoot


def demo(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(help="Runs' folders, checkpoints or folders of weights of your own."),
    ] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Of 127.0.0.1; 0 takes a free one.")
    ] = 7860,
    open_browser: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in the browser.")
    ] = True,
    data_root: DataRoot = None,
) -> None:
    """Serve a page on this machine, for this machine alone: drag a digit and watch a transformer
    straighten it, or any image and watch any transform bend it. Nothing is fetched, and test
    digits are there if MNIST is.

    Examples:

        stn demo

        stn demo runs/table1/rts--st_cnn_affine--seed0 runs/table1/rts--cnn--seed0 --port 8000
    """
    import webbrowser

    from spatial_transformer.demo.digits import DigitsTab, find_digits
    from spatial_transformer.demo.images import ImagesTab
    from spatial_transformer.demo.networks import find_networks
    from spatial_transformer.demo.server import build_app, serving, wait

    networks = find_networks(runs or [])
    app = build_app(DigitsTab(networks, find_digits(data_root)), ImagesTab())
    with serving(app, port) as url:
        say(f"{len(networks)} networks; the page is {url} (Ctrl-C ends it)")
        if open_browser:
            webbrowser.open(url)
        wait()
