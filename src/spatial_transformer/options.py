"""Checks of numeric options, which return Python's own int or float.

Records and checkpoints can store those.
"""

import math
from numbers import Integral, Real

from spatial_transformer.errors import OptionError


def check_count(name: str, value: object, *, least: int = 1, most: int | None = None) -> int:
    """``value`` as an int from ``least`` to ``most``.

    Raises:
        OptionError: If it is not a whole number (a bool is not), is too small or too large.

    Examples:
        >>> check_count("classes", 10)
        10
    """
    what = "a positive whole number" if least == 1 else f"a whole number from {least} on"
    if not isinstance(value, Integral) or isinstance(value, bool) or int(value) < least:
        raise OptionError(f"{name} must be {what}, got {value!r}")
    if most is not None and int(value) > most:
        raise OptionError(f"{name} must be {what}, of at most {most}, got {value!r}")
    return int(value)


def check_number(name: str, value: object, interval: str) -> float:
    """``value`` as a finite float in an ``interval``, written as in mathematics: "(0, 1]".

    Raises:
        OptionError: If it is not a number (NaN and a bool are not), or is outside.

    Examples:
        >>> check_number("momentum", 0.9, "[0, 1)")
        0.9
    """
    low, high = (float(end) for end in interval[1:-1].split(","))
    number = math.nan
    if isinstance(value, Real) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:  # an int beyond float
            number = math.inf
    inside = low < number < high
    inside |= (number == low and interval[0] == "[") or (number == high and interval[-1] == "]")
    if not inside:
        raise OptionError(f"{name} must be a number in {interval}, got {value!r}")
    return number
