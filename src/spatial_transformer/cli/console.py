"""Output of the subcommands."""

from rich.console import Console


def say(text: str) -> None:
    """Print a line as it is: without markup, as paths may have brackets, and without wrapping."""
    Console().print(text, markup=False, highlight=False, soft_wrap=True)
