"""Names of the tensors and numbers that are NaN or infinite."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def not_finite(value: object, name: str = "") -> list[str]:
    """The names of non-finite entries of a tensor, a float, or a nested state of them.

    Examples:
        >>> not_finite({"a": {"b": torch.tensor([1.0, torch.nan])}, "c": [0.5, torch.inf]})
        ['a.b', 'c.1']
    """
    if isinstance(value, Tensor):
        numbers = value.is_floating_point() or value.is_complex()
        return [name] if numbers and not bool(torch.isfinite(value).all()) else []
    if isinstance(value, float):
        return [] if math.isfinite(value) else [name]
    if isinstance(value, list | tuple):
        value = dict(enumerate(value))
    if not isinstance(value, Mapping):
        return []
    prefix = f"{name}." if name else ""
    return [n for key, part in value.items() for n in not_finite(part, f"{prefix}{key}")]


def summary(names: Sequence[str]) -> str:
    """The first of several names, and how many more there are.

    >>> summary(["a"]), summary(["a", "b", "c"])
    ('a', 'a and 2 more')
    """
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
