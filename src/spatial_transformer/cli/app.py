"""The command ``stn``."""

import sys
from typing import Annotated

import typer
from rich.console import Console

from spatial_transformer.cli.demo import demo
from spatial_transformer.cli.doctor import doctor
from spatial_transformer.cli.evaluate import evaluate
from spatial_transformer.cli.export import export
from spatial_transformer.cli.film import film
from spatial_transformer.cli.list import list_names
from spatial_transformer.cli.pretrained import pretrained
from spatial_transformer.cli.report import report
from spatial_transformer.cli.reproduce import reproduce
from spatial_transformer.cli.show import show
from spatial_transformer.cli.train import train
from spatial_transformer.errors import SpatialTransformerError

#: before a subcommand
DEBUG = "--debug"

app = typer.Typer(
    help="Spatial Transformer Networks: train, measure and look at them.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,
)
app.command("train")(train)
app.command("eval")(evaluate)
app.command("show")(show)
app.command("reproduce")(reproduce)
app.command("film")(film)
app.command("demo")(demo)
app.command("report")(report)
app.command("pretrained")(pretrained)
app.command("export")(export)
app.command("list")(list_names)
app.command("doctor")(doctor)


def _version(asked: bool) -> None:
    if asked:
        import spatial_transformer

        print(spatial_transformer.__version__)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option(DEBUG, help="Show where an error that is not expected comes from.")
    ] = False,
) -> None:
    """Spatial Transformer Networks: train, measure and look at them."""


def main() -> None:
    """Run the command line and exit.

    Exit codes: 0 done, 1 an error of ours or a file that cannot be read or written (reported in one
    line), 2 wrong usage, 130 interrupted.
    """
    try:
        app(prog_name="stn")
    except (SpatialTransformerError, OSError) as error:  # OSError: a path that cannot be written
        console = Console(stderr=True, soft_wrap=True, highlight=False)
        console.print("[bold red]error:[/bold red]", end=" ")
        console.print(str(error), markup=False)
        sys.exit(1)
    except Exception as error:
        if DEBUG in sys.argv:
            raise
        print(
            f"error: {type(error).__name__}: {error} (all of it: stn {DEBUG} ...)", file=sys.stderr
        )
        sys.exit(1)
    except (KeyboardInterrupt, SystemExit) as end:
        # Typer makes an exit of an interrupt, without its message
        interrupt = _interrupt_of(end)
        if interrupt is None:
            raise
        if str(interrupt):
            print(interrupt, file=sys.stderr)
        sys.exit(130)


def _interrupt_of(error: BaseException | None) -> KeyboardInterrupt | None:
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error


if __name__ == "__main__":
    main()
