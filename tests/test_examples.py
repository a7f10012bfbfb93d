"""The examples run, and what they measure is what they say."""

import importlib.util
import sys
from pathlib import Path

import pytest
import torch
from tools.tutorial import COLLAPSED, collapse_table

import spatial_transformer as stn
from spatial_transformer.experiments.data.stream import Digits

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture(scope="module")
def collapse():
    spec = importlib.util.spec_from_file_location("example", EXAMPLES / "tutorial_collapse.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["example"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["example"]


def test_the_tutorials_network(collapse):
    plain, rts = collapse.settings()
    variants = collapse.VARIANTS
    model = collapse.build(variants[0], 28)
    # of https://docs.pytorch.org/tutorials/intermediate/spatial_transformer_tutorial.html
    localisation = sum(p.numel() for p in stn.localisation_parameters(model))
    assert localisation == 8 * 49 + 8 + 10 * 8 * 25 + 10 + 90 * 32 + 32 + 32 * 6 + 6
    assert sum(p.numel() for p in model.classifier.parameters()) == 21_840
    assert (plain.lr, plain.momentum) == (0.01, 0.0)
    assert rts.distortion.size == 42
    # what is read outside, once the images are normalised: 0, or the background
    outside = torch.tensor([[1.0, 0, 5, 0, 1, 0]])
    black = collapse.normalise(torch.zeros(1, 1, 28, 28))
    for variant, value in ((variants[0], 0.0), (variants[1], float(black[0, 0, 0, 0]))):
        layer = collapse.build(variant, 28).transformer
        read = stn.warp(black, outside, "affine", 28, **layer.sampler.options())
        torch.testing.assert_close(read, torch.full_like(read, value))


def test_its_measures_by_hand(collapse):
    model = collapse.build(collapse.VARIANTS[0], 28)
    head = model.transformer.localisation.head
    # it shows a frame twice as large as the image: three quarters lie outside
    head.bias.data = torch.tensor([2.0, 0, 0, 0, 2, 0])
    found = collapse.measure(model, torch.rand(20, 1, 28, 28), torch.arange(20) % 10)
    assert found["zoom_out"] == pytest.approx(2)
    assert found["outside_percent"] == pytest.approx(75)
    assert 0 <= found["test_error_percent"] <= 100


@pytest.mark.slow
def test_a_short_version_runs(collapse, tmp_path):
    digits = Digits(torch.randint(0, 256, (128, 28, 28)).to(torch.uint8), torch.arange(128) % 10)
    picture = tmp_path / "x.png"
    rows = collapse.run(
        collapse.settings(steps=2), 2, train_digits=digits, test_digits=digits, picture=picture
    )
    assert len(rows) == (2 + 4) * 2
    assert picture.stat().st_size > 1_000
    table = collapse_table(rows)
    assert len(table.splitlines()) == 2 + 6
    assert "| hard | fill, localisation x 0.1 |" in table
    assert table.count("| 0 of 2 |") == 6
    # the same seed gives the same run
    again = collapse.run(collapse.settings(steps=2)[:1], 1, train_digits=digits, test_digits=digits)
    assert again[0] == rows[0]


@pytest.mark.slow
def test_at_a_high_learning_rate_it_collapses_and_at_a_tenth_it_does_not(collapse):
    """The record's hard setting, one seed, as far as it takes."""
    hard = collapse.settings()[1]
    train, test = (collapse.load_digits(part) for part in ("train", "test"))
    test = Digits(test.images[:500], test.labels[:500])
    images, labels = collapse.fixed_set(test, hard.distortion)
    outside = {}
    for variant in (collapse.VARIANTS[0], collapse.VARIANTS[-1]):
        model = collapse.train(hard, variant, 1, train)
        outside[variant.name] = collapse.measure(model, images, labels)["outside_percent"]
    assert outside["as the tutorial"] > COLLAPSED > outside["fill, localisation x 0.1"]
