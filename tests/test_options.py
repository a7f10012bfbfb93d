"""Options that are plain numbers: what is taken, and what is refused by name."""

import math

import numpy as np
import pytest

from spatial_transformer.errors import OptionError
from spatial_transformer.options import check_count, check_number


@pytest.mark.parametrize("value", [1, 7, np.int64(7), np.uint8(3)])
def test_counts(value):
    assert check_count("n", value) == value
    assert type(check_count("n", value)) is int


@pytest.mark.parametrize("value", [0, -1, True, 1.0, math.nan, "1", None, [1], np.bool_(True)])
def test_no_counts(value):
    with pytest.raises(OptionError, match="^n must be a positive whole number, got "):
        check_count("n", value)


def test_counts_within_bounds():
    assert check_count("seed", 0, least=0) == 0
    with pytest.raises(OptionError, match="seed must be a whole number from 0 on, got -1"):
        check_count("seed", -1, least=0)
    with pytest.raises(OptionError, match="from 0 on, of at most 9, got 10"):
        check_count("seed", 10, least=0, most=9)


@pytest.mark.parametrize(
    ("interval", "inside", "outside"),
    [
        ("[0, 1)", [0, 0.5, np.float32(0.25), np.nextafter(1, 0)], [-1e-300, 1, 2]),
        ("(0, 1]", [5e-324, 1], [0, -0.0, 1.1]),
        ("(0, inf)", [1e-300, 1e300, 2**900], [0, -1, math.inf, 10**400]),
    ],
)
def test_numbers(interval, inside, outside):
    for value in inside:
        assert check_number("x", value, interval) == value
        assert type(check_number("x", value, interval)) is float
    for value in [*outside, math.nan, -math.inf, True, "1", None, [0.5], 1j]:
        with pytest.raises(OptionError) as caught:
            check_number("x", value, interval)
        assert str(caught.value).startswith(f"x must be a number in {interval}, got ")
