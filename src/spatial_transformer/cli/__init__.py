"""The command ``stn``, one file a subcommand."""

import sys

from spatial_transformer.errors import OptionError
from spatial_transformer.extras import check_installed


def main() -> None:
    """Run the command, or print in one line which package is missing."""
    try:
        check_installed("cli", "typer", "rich")
    except OptionError as error:
        sys.exit(f"error: {error}")
    from spatial_transformer.cli.app import main

    main()
