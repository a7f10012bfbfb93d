"""What tests of the Triton backend need; nothing of it is imported before one does."""

import pytest
import torch


@pytest.fixture
def interpreted(monkeypatch):
    """Its interpreter, where there is no GPU."""
    from tests.ops.triton_cases import choose

    choose(monkeypatch)


@pytest.fixture
def replanned(monkeypatch):
    """Patches what plans are made of; none is kept from before or for later."""
    from tests.ops.triton_cases import launch

    launch.plan.cache_clear()
    launch.tile_config.cache_clear()
    yield monkeypatch
    monkeypatch.undo()
    launch.plan.cache_clear()
    launch.tile_config.cache_clear()


@pytest.fixture
def deterministic():
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(before)
