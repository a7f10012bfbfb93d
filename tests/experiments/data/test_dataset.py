"""What every data set owes: fixed sets that are the same on every kind of device."""

import pytest
import torch

from spatial_transformer.experiments.data import addition, colocalisation, dataset
from spatial_transformer.experiments.data.catalogue import make_dataset
from spatial_transformer.experiments.data.stream import Digits


@pytest.fixture
def digits(monkeypatch):
    g = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (40, 28, 28), dtype=torch.uint8, generator=g)
    digits = Digits(images, torch.arange(40) % 10)

    def load(part, data_root=None, device="cpu"):
        return digits.to(device)

    for module in (addition, colocalisation, dataset):
        monkeypatch.setattr(module, "load_digits", load)


@pytest.mark.parametrize("name", ["r", "rts", "p", "e", "tc", "addition", "tc0", "volume30"])
def test_fixed_sets_are_drawn_on_the_cpu_whatever_the_device(digits, name):
    """The meta device stands for any: it has no random numbers of its own."""
    data = make_dataset(name)
    for drawn, moved in zip(data.fixed("test"), data.fixed("test", device="meta"), strict=True):
        for a, b in zip(drawn, moved, strict=True):
            assert (a.device.type, b.device.type) == ("cpu", "meta")
            assert (a.shape, a.dtype) == (b.shape, b.dtype)
