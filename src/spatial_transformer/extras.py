"""Imports of optional dependencies, the package's extras."""

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from spatial_transformer.errors import OptionError


def require(module: str, extra: str) -> ModuleType:
    """Import an optional dependency.

    Args:
        module: The module's name.
        extra: The extra of this package that installs it.

    Raises:
        OptionError: If it cannot be imported; the message says how to install it.

    Examples:
        >>> require("json", "pretrained").__name__
        'json'
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise OptionError(
            f'{module} is not installed ({error}): pip install "spatial-transformer[{extra}]"'
        ) from error


def check_installed(extra: str, *packages: str) -> None:
    """That packages are there, without importing them.

    Raises: OptionError that says how to install the extra, where one is not.

    >>> check_installed("viz", "json")
    """
    for package in packages:
        try:
            there = find_spec(package) is not None
        except ValueError:  # a module that was made by hand
            there = True
        if not there:
            raise OptionError(
                f"{package} is not installed (the extra {extra!r} needs it): "
                f'pip install "spatial-transformer[{extra}]"'
            )
