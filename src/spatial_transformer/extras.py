"""Imports of optional dependencies, the package's extras."""

from importlib import import_module
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
