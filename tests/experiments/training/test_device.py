"""Devices by name; the accelerator is a pretended one."""

import pytest
import torch

from spatial_transformer.errors import BackendError
from spatial_transformer.experiments.training.device import find_device


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cuda"))


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 0)


@pytest.mark.parametrize(
    ("name", "device"),
    [("auto", "cuda"), ("cpu", "cpu"), ("cuda", "cuda"), ("cuda:1", "cuda:1")],
)
def test_with_accelerators(two_gpus, name, device):
    assert find_device(name) == torch.device(device)


@pytest.mark.parametrize("name", ["cuda:2", "mps", "meta", "cpu:1", "gpu", ""])
def test_what_is_not_there_beside_accelerators(two_gpus, name):
    with pytest.raises(BackendError, match=f"device '{name}' is not available here"):
        find_device(name)


def test_without_an_accelerator(no_gpu):
    assert find_device("auto") == find_device("cpu") == torch.device("cpu")
    with pytest.raises(BackendError, match="torch finds 1 cpu"):
        find_device("cuda")
