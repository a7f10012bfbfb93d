"""Checks of the browser's requests: every value has a type and a range."""

import base64
import binascii
import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from spatial_transformer.errors import OptionError, UnknownNameError
from spatial_transformer.registry import unknown

#: what JSON gives us
Payload = Mapping[str, Any]

Name = TypeVar("Name", bound=str)


def number(payload: Payload, name: str, low: float, high: float, default: float) -> float:
    """A finite number in [low, high].

    Raises:
        OptionError: If it is not.
    """
    return _number(payload.get(name, default), name, low, high)


def whole(payload: Payload, name: str, low: int, high: int, default: int) -> int:
    """A whole number in [low, high].

    Raises:
        OptionError: If it is not.
    """
    value = number(payload, name, low, high, default)
    if value != int(value):
        raise OptionError(f"{name} must be a whole number, got {value}")
    return int(value)


def numbers(payload: Payload, name: str, count: int, bound: float) -> list[float]:
    """``count`` finite numbers in [-bound, bound].

    Raises:
        OptionError: If it is not a list of these.

    Examples:
        >>> numbers({"theta": [1, 0.5]}, "theta", 2, bound=10)
        [1.0, 0.5]
    """
    value = payload.get(name)
    if not isinstance(value, list) or len(value) != count:
        found = f"{len(value)}" if isinstance(value, list) else type(value).__name__
        raise OptionError(f"{name} must be a list of {count} numbers, got {found}")
    return [_number(v, f"{name}[{i}]", -bound, bound) for i, v in enumerate(value)]


def flag(payload: Payload, name: str) -> bool:
    """True or false; false if missing.

    Raises:
        OptionError: If it is neither.
    """
    value = payload.get(name, False)
    if not isinstance(value, bool):
        raise OptionError(f"{name} must be true or false, got {type(value).__name__}")
    return value


def choice(payload: Payload, name: str, known: Sequence[Name]) -> Name:
    """One of ``known``.

    Raises:
        OptionError: If it is not text.
        UnknownNameError: If it is not one of ``known``.
    """
    value = payload.get(name)
    if not isinstance(value, str):
        raise OptionError(f"{name} must be a text, got {type(value).__name__}")
    for entry in known:
        if entry == value:
            return entry
    raise UnknownNameError(unknown(name, value[:40], known))


def choices(payload: Payload, name: str, most: int, known: Sequence[str]) -> list[str]:
    """At most ``most`` of ``known``.

    Raises:
        OptionError: If it is not a list, or too long.
        UnknownNameError: If an entry is not one of ``known``.
    """
    value = payload.get(name, [])
    if not isinstance(value, list) or len(value) > most:
        raise OptionError(f"{name} must be a list of at most {most} names")
    return [choice({name: v}, name, known) for v in value]


def part(payload: Payload, name: str) -> Payload:
    """A nested object; empty if missing.

    Raises:
        OptionError: If it is not an object.
    """
    return as_object(payload.get(name, {}), name)


def parts(payload: Payload, name: str, count: int) -> list[Payload]:
    """A list of ``count`` objects.

    Raises:
        OptionError: If it is not.
    """
    value = payload.get(name)
    if not isinstance(value, list) or len(value) != count:
        raise OptionError(f"{name} must be a list of {count} objects")
    return [as_object(v, f"{name}[{i}]") for i, v in enumerate(value)]


def as_object(value: object, name: str) -> Payload:
    """A JSON object.

    Raises:
        OptionError: If it is not one.
    """
    if not isinstance(value, dict):
        raise OptionError(f"{name} must be an object, got {type(value).__name__}")
    return value


def data(payload: Payload, name: str, size: int) -> bytes:
    """Exactly ``size`` bytes in base64.

    Raises:
        OptionError: If they are not.
    """
    value = payload.get(name)
    if not isinstance(value, str):
        raise OptionError(f"{name} must be base64 text, got {type(value).__name__}")
    try:
        decoded = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise OptionError(f"{name} is not base64: {error}") from error
    if len(decoded) != size:
        raise OptionError(f"{name} must hold {size} bytes, got {len(decoded)}")
    return decoded


def _number(value: object, name: str, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise OptionError(f"{name} must be a number, got {type(value).__name__}")
    # an int may be too large for a float; compared as it is
    if not (math.isfinite(value) if isinstance(value, float) else True) or not low <= value <= high:
        raise OptionError(f"{name} must be from {low} to {high}, got {str(value)[:20]}")
    return float(value)
