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
        raise OptionError(_missing(module, extra, str(error))) from error


def check_installed(extra: str, *packages: str) -> None:
    """Check that packages are there, without importing them.

    Raises:
        OptionError: If one is not; the message says how to install the extra.

    Examples:
        >>> check_installed("viz", "json")
    """
    for package in packages:
        try:
            there = find_spec(package) is not None
        except ValueError:  # a module that was made by hand
            there = True
        if not there:
            raise OptionError(_missing(package, extra, f"the extra {extra!r} needs it"))


def _missing(module: str, extra: str, why: str) -> str:
    # no index has the package yet
    install = f'pip install ".[{extra}]"'
    return f"{module} is not installed ({why}): {install} in a clone of the repository"
