"""Shared by all tests: seeds, and options."""

from pathlib import Path

import pytest
import torch


def pytest_addoption(parser):
    parser.addoption("--data-root", type=Path, help="folder with MNIST's IDX files")


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def data_root(request):
    return request.config.getoption("--data-root")
