"""What the subcommands say."""

from rich.console import Console


def say(text: str) -> None:
    """A line on the terminal, as it is: a path may hold brackets, and is not broken in two."""
    Console().print(text, markup=False, highlight=False, soft_wrap=True)
