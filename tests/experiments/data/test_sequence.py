"""Sequences of digits: a plain re-implementation in NumPy, the ranges, the splits."""

import time

import numpy as np
import pytest
import torch

from spatial_transformer.errors import OptionError
from spatial_transformer.experiments.data import sequence
from spatial_transformer.experiments.data.catalogue import make_dataset
from spatial_transformer.experiments.data.sequence import (
    draw_clutter,
    draw_row,
    draw_sequences,
    place_row,
)
from spatial_transformer.experiments.data.stream import Digits


def random_digits(count, seed=0):
    source = np.random.default_rng(seed)
    images = source.integers(1, 256, (count, 28, 28), dtype=np.uint8)  # nowhere black
    return Digits(torch.from_numpy(images), torch.arange(count) % 10)


class Draws:
    """The same integers for two implementations, in the order in which they are asked for."""

    def __init__(self, seed):
        self.source, self.drawn = np.random.default_rng(seed), []

    def __call__(self, generator, shape, high):
        values = self.source.integers(high, size=shape)
        self.drawn.append((high, values))
        return torch.from_numpy(values)


def plain(images, labels, others, draws):
    """One image after the other, pixel by pixel, from the numbers that were drawn."""
    ranges = [high for high, _ in draws]
    assert ranges == [len(images), 16, 100, 28, len(others), 19, 19, 91, 91]
    chosen, left, top, slope, which, cut_y, cut_x, at_y, at_x = (v for _, v in draws)
    canvases, truths = [], []
    for b in range(len(chosen)):
        clutter, row = np.zeros((100, 100)), np.zeros((100, 100))
        for k in range(8):
            piece = others[which[b, k]][cut_y[b, k] :, cut_x[b, k] :][:9, :9] / 255
            clutter[at_y[b, k] : at_y[b, k] + 9, at_x[b, k] : at_x[b, k] + 9] = piece
        for k in range(3):
            y = min(max(top[b] + k * (slope[b] - 14), 0), 72)
            x = left[b] + 28 * k
            row[y : y + 28, x : x + 28] += images[chosen[b, k]] / 255
        canvases.append(np.clip(clutter + row, 0, 1))
        truths.append([labels[i] for i in chosen[b]])
    return np.stack(canvases)[:, None], np.array(truths)


def test_is_the_plain_implementation(monkeypatch):
    digits, others = random_digits(50), random_digits(30, seed=1)
    draws = Draws(7)
    monkeypatch.setattr(sequence, "whole", draws)
    images, labels = draw_sequences(digits, others.images, 40, torch.Generator())
    expected, truth = plain(
        digits.images.numpy(), digits.labels.numpy(), others.images.numpy(), draws.drawn
    )
    assert images.dtype == torch.float32
    np.testing.assert_allclose(images.numpy(), expected, rtol=0, atol=1e-6)
    assert (images == 1).any()  # digits and clutter are added and clipped
    assert np.array_equal(labels.numpy(), truth)


def test_every_place_is_reached_and_none_beyond():
    left, top, slope = torch.meshgrid(
        torch.arange(16), torch.arange(100), torch.arange(-14, 14), indexing="ij"
    )
    rows, columns = place_row(left.flatten(), top.flatten(), slope.flatten())
    assert (rows.min(), rows.max()) == (0, 72)
    assert (columns.min(), columns.max()) == (0, 71)
    assert (columns.diff(dim=1) == 28).all()
    canvas = draw_row(torch.ones(len(rows), 3, 28, 28), rows, columns)
    assert (canvas.sum(1) == 3 * 28**2).all()  # no digit covers another
    clutter = draw_clutter(random_digits(20).images, 500, torch.Generator().manual_seed(0))
    lit = clutter.view(-1, 100, 100).amax(0) > 0
    assert lit[10:90, 10:90].all()
    for edge in (lit, lit.T):
        assert edge[0].any()
        assert edge[98].any()
        assert not edge[99].any()


def test_batches_and_fixed_sets(tiny):
    data = make_dataset("sequence100")
    one, again = data.batches(16, 3, data_root=tiny), data.batches(16, 3, data_root=tiny)
    images, labels = one(5)
    assert images.shape == (16, *data.in_shape)
    assert labels.shape == (16, data.length)
    assert 0 <= images.min() <= images.max() <= 1
    assert torch.equal(images, again(5)[0])
    assert torch.equal(labels, again(5)[1])
    assert not torch.equal(images, one(6)[0])
    assert not torch.equal(images, data.batches(16, 4, data_root=tiny)(5)[0])
    for part, count in (("validation", 5200 // 6), ("test", 100)):
        blocks = list(data.fixed(part, data_root=tiny))
        assert sum(len(y) for _, y in blocks) == count
        assert torch.equal(blocks[0][0], next(data.fixed(part, data_root=tiny))[0])
        assert not torch.equal(blocks[0][0], next(data.fixed(part, seed=1, data_root=tiny))[0])
    images, labels = data.probes(data_root=tiny)
    assert (len(images), labels.shape) == (10, (10, 3))
    with pytest.raises(OptionError, match="part must be validation or test, got 'train'"):
        data.fixed("train", data_root=tiny)


def test_digits_are_of_their_part_and_clutter_of_training(monkeypatch):
    """Test digits have labels of their own; training digits have one brightness, 100."""
    train = Digits(torch.full((600, 28, 28), 100, dtype=torch.uint8), torch.arange(600))
    test = Digits(torch.full((50, 28, 28), 10, dtype=torch.uint8), 1_000 + torch.arange(50))
    monkeypatch.setattr(
        sequence, "load_mnist", lambda part, root: vars(train if part == "train" else test).values()
    )
    data = make_dataset("sequence100")
    seen = {"train": data.batches(500, 0)(0)[1]}
    for part in ("validation", "test"):
        blocks = list(data.fixed(part))
        seen[part] = torch.cat([y for _, y in blocks])
    labels = {part: set(y.flatten().tolist()) for part, y in seen.items()}
    assert len(labels["train"]) > 400
    assert not labels["train"] & labels["validation"]
    assert labels["test"] <= set(range(1_000, 1_050))
    values = (next(data.fixed("test"))[0] * 255).round().unique().tolist()
    assert values == [0, 10, 100, 110]


def test_on_another_device(tiny):
    data = make_dataset("sequence100")
    for drawn, moved in zip(
        data.fixed("test", data_root=tiny),
        data.fixed("test", data_root=tiny, device="meta"),
        strict=True,
    ):
        for a, b in zip(drawn, moved, strict=True):
            assert (a.device.type, b.device.type) == ("cpu", "meta")
            assert (a.shape, a.dtype) == (b.shape, b.dtype)


@pytest.mark.slow
def test_a_batch_takes_little_of_a_step(tiny):
    """Processor time, as others may use the machine; a step takes some hundred times as long."""
    batch = make_dataset("sequence100").batches(100, 0, data_root=tiny)
    batch(0)
    times = []
    for k in range(20):
        began = time.process_time()
        batch(k)
        times.append(time.process_time() - began)
    assert min(times) < 0.02
