"""Packages that only some features need: the extras of the package."""

from importlib import import_module
from types import ModuleType

from spatial_transformer.errors import OptionError


def require(module: str, extra: str) -> ModuleType:
    """The module, imported.

    Raises: OptionError that says how to install it, where it is not.

    >>> require("json", "pretrained").__name__
    'json'
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise OptionError(
            f'{module} is not installed ({error}): pip install "spatial-transformer[{extra}]"'
        ) from error
