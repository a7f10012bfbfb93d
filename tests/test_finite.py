"""What is NaN or infinite, by name."""

import math

import pytest
import torch
from torch import nn

from spatial_transformer.finite import not_finite, summary


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    "dtype", [torch.half, torch.bfloat16, torch.float, torch.double, torch.cfloat]
)
def test_one_entry_of_any_dtype(dtype, bad):
    value = torch.zeros(3, 4, dtype=dtype)
    assert not_finite({"a": value}) == []
    value[2, 1] = bad
    assert not_finite({"a": value}) == ["a"]


def test_states_are_read_to_the_end():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    optimiser = torch.optim.AdamW(model.parameters())
    model(torch.rand(3, 2)).sum().backward()
    optimiser.step()
    state = {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "loss": 0.5}
    assert not_finite(state) == []
    model[1].running_var[0] = math.inf
    optimiser.state[model[0].bias]["exp_avg_sq"][1] = math.nan
    state = {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "loss": math.nan}
    assert not_finite(state) == ["model.1.running_var", "optimiser.state.1.exp_avg_sq", "loss"]


def test_what_holds_no_fractions_is_finite():
    assert not_finite({"a": torch.ones(2, dtype=torch.bool), "b": 3, "c": None, "d": "nan"}) == []
    assert not_finite({"empty": torch.zeros(0, 3), "steps": torch.tensor(4)}) == []


def test_a_summary_names_the_first():
    assert summary(["a.b"]) == "a.b"
    assert summary(["a.b", "c"]) == "a.b and 1 more"
