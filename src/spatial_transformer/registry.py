"""Registries, name -> class, whose errors list the names that exist."""

import difflib
from collections.abc import Callable
from typing import Generic, TypeVar

from spatial_transformer.errors import OptionError, SpatialTransformerError, UnknownNameError

T = TypeVar("T")


class Registry(Generic[T]):
    """An ordered mapping from names to the callables that build a ``T``.

    Args:
        kind: What the entries are, for messages.

    Examples:
        >>> shapes = Registry("shape")
        >>> shapes.add("square", dict)
        >>> shapes.names()
        ('square',)
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._builders: dict[str, Callable[..., T]] = {}

    def add(self, name: str, builder: Callable[..., T]) -> None:
        """Register a builder.

        Raises:
            OptionError: If the name is registered already.
        """
        if name in self._builders:
            raise OptionError(f"{self.kind} {name!r} is registered already")
        self._builders[name] = builder

    def names(self) -> tuple[str, ...]:
        """All names, in the order in which they were registered."""
        return tuple(self._builders)

    def get(self, name: str) -> Callable[..., T]:
        """The builder of that name.

        Raises:
            UnknownNameError: If the name is not registered; the message lists the names.
        """
        if not isinstance(name, str) or name not in self._builders:
            near = difflib.get_close_matches(str(name), self._builders, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            known = ", ".join(self._builders)
            raise UnknownNameError(f"unknown {self.kind} {name!r}.{hint} Known: {known}")
        return self._builders[name]

    def make(self, name: str, **options: object) -> T:
        """Build the entry of that name with ``options``.

        Raises:
            UnknownNameError: If the name is not registered; the message lists the names.
            OptionError: If an option does not exist or has an invalid value.
        """
        builder = self.get(name)
        try:
            return builder(**options)
        except SpatialTransformerError:
            raise
        except (TypeError, ValueError, ArithmeticError) as error:
            raise OptionError(f"{self.kind} {name!r}: {error}") from error
