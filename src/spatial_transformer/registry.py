"""Registries, name -> class, whose errors list the names that exist."""

import difflib
from collections.abc import Callable, Iterable
from itertools import takewhile
from typing import Generic, TypeVar

from spatial_transformer.errors import OptionError, SpatialTransformerError, UnknownNameError

T = TypeVar("T")


def unknown(kind: str, name: object, known: Iterable[str]) -> str:
    """What to say of a name that is not known: the nearest of those that are, and all of them.

    Example:
        >>> unknown("model", "st_cn", ["st_fcn", "st_cnn"])
        "unknown model 'st_cn'. Did you mean 'st_cnn'? Known: st_fcn, st_cnn"
    """
    names = list(known)

    def likeness(other: str) -> tuple[float, int]:
        ratio = difflib.SequenceMatcher(None, other, str(name)).ratio()
        same_start = takewhile(lambda pair: pair[0] == pair[1], zip(other, str(name), strict=False))
        return ratio, len(list(same_start))

    near = max(names, key=likeness, default="")
    hint = f" Did you mean {near!r}?" if near and likeness(near)[0] >= 0.6 else ""
    return f"unknown {kind} {name!r}.{hint} Known: {', '.join(names)}"


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
            raise UnknownNameError(unknown(self.kind, name, self._builders))
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
