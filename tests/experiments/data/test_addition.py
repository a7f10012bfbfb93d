"""MNIST addition: two digits on their own, and their sum."""

import torch

from spatial_transformer.experiments.data import addition
from spatial_transformer.experiments.data.addition import Addition
from spatial_transformer.experiments.data.stream import Digits


def test_labels_are_sums_and_digits_are_distorted_apart(monkeypatch):
    # digit k is a plain image of brightness (k + 1) / 10 times 255
    labels = torch.arange(600) % 10
    images = ((labels + 1) * 25).to(torch.uint8)[:, None, None].expand(-1, 28, 28)
    monkeypatch.setattr(addition, "load_digits", lambda *a: Digits(images, labels))
    data = Addition()
    for x, y in (data.batches(64, 0)(3), next(data.fixed("test"))):
        assert x.shape[1:] == data.in_shape
        shown = (x.flatten(2).amax(2) * 255 / 25).round().long() - 1
        assert torch.equal(shown.sum(1), y)
        assert (shown[:, 0] != shown[:, 1]).float().mean() > 0.8
        lit = (x > 0).flatten(2).sum(2)
        assert (lit[:, 0] != lit[:, 1]).float().mean() > 0.9  # scaled each on its own
    assert y.max() <= data.classes - 1
    a, b = data.batches(64, 0), data.batches(64, 0)
    assert torch.equal(a(5)[0], b(5)[0])
    assert not torch.equal(a(5)[0], data.batches(64, 1)(5)[0])
    assert torch.equal(next(data.fixed("test"))[0], next(data.fixed("test"))[0])
