"""Co-localisation: its sets, its loss and its measure; a run from set to record."""

import io
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from rich.console import Console
from torch import nn

import spatial_transformer as stn
from spatial_transformer.errors import OptionError, UnknownNameError
from spatial_transformer.experiments.data import colocalisation as data
from spatial_transformer.experiments.data.catalogue import make_dataset
from spatial_transformer.experiments.data.stream import Digits
from spatial_transformer.experiments.models.build import ModelConfig, build_model
from spatial_transformer.experiments.models.cnn import CNN
from spatial_transformer.experiments.models.locator import SIZES, Window
from spatial_transformer.experiments.runner.colocalisation import (
    OVERLAP,
    Colocalise,
    boxes,
    features,
    overlap,
    triplet,
)
from spatial_transformer.experiments.runner.load import load_model
from spatial_transformer.experiments.runner.pictures import open_pictures
from spatial_transformer.experiments.runner.reproduce import reproduce
from spatial_transformer.experiments.runner.run import run
from spatial_transformer.experiments.tables.colocalisation.config import COLOCALISATION
from spatial_transformer.experiments.tables.table1.config import TABLE1
from spatial_transformer.viz.theta import theta_values


@pytest.fixture
def digits(monkeypatch):
    """Digit k is a full square of brightness 10 (k + 1)."""
    labels = torch.arange(400) % 10
    images = (10 * (labels + 1)).to(torch.uint8)[:, None, None].expand(-1, 28, 28)
    monkeypatch.setattr(data, "load_digits", lambda *a: Digits(images, labels))


@pytest.mark.parametrize("kind", ["t", "tc"])
def test_a_set_has_one_class_and_true_boxes(digits, kind):
    images, truth = next(make_dataset(f"{kind}0").fixed("test", seed=1))
    assert images.shape == (100, 1, 84, 84)
    for image, (left, top, right, bottom) in zip(images[:, 0], truth.int().tolist(), strict=True):
        inside = image[top:bottom, left:right] * 255
        assert inside.shape == (28, 28)
        assert inside.min().round() == 10  # class 0 is the darkest; distractors may cover a part
        outside = (image > 0).sum() - 28 * 28
        assert (outside == 0) if kind == "t" else (0 < outside <= 16 * 36)
    assert len(truth.unique(dim=0)) > 90
    assert not torch.equal(images, next(make_dataset(f"{kind}0").fixed("test", seed=2))[0])


def test_images_are_moved_by_whole_pixels_before_they_are_trained_on(digits):
    images, _ = next(make_dataset("tc4").fixed("test"))
    found = data.moved(images, torch.Generator().manual_seed(3))
    offsets = []
    for before, after in zip(images[:, 0], found[:, 0], strict=True):
        reach = range(-data.SHIFT, data.SHIFT + 1)
        wide = torch.nn.functional.pad(before, (2 * data.SHIFT,) * 4)
        middle = 2 * data.SHIFT
        same = [
            (y, x)
            for y in reach
            for x in reach
            if torch.equal(wide[middle - y :, middle - x :][:84, :84], after)
        ]
        assert len(same) == 1
        offsets += same
    assert {n for pair in offsets for n in pair} == set(reach)


def test_no_image_is_twice_in_a_batch_and_crops_lie_in_the_canvas(digits, monkeypatch):
    monkeypatch.setattr(data, "SHIFT", 0)  # where they are, no two are alike
    batches = make_dataset("t4").batches(50, 0)
    images, theta = batches(3)
    assert images.shape == (50, 1, 84, 84)
    assert len(images.flatten(1).unique(dim=0)) == 50
    assert torch.equal(images, batches(3)[0])
    assert not torch.equal(images, batches(4)[0])
    # more than there are: all of them
    assert len(make_dataset("t4").batches(128, 0)(0)[0]) == 100
    edges = boxes(stn.Attention(), theta, 84)
    assert edges.min() >= -1e-4
    assert edges.max() <= 84 + 1e-4
    torch.testing.assert_close(edges[:, 2:] - edges[:, :2], torch.full((50, 2), 28.0))


def test_names_that_do_not_exist():
    with pytest.raises(UnknownNameError):
        make_dataset("t10")
    with pytest.raises(OptionError, match="t0 to t9 and tc0 to tc9, not r1"):
        data.Colocalisation("r", 1)
    with pytest.raises(OptionError, match="no validation images"):
        make_dataset("t1").fixed("validation")


def test_features_are_the_three_layers():
    torch.manual_seed(0)
    cnn = CNN((1, 28, 28), 5)
    image = torch.rand(2, 1, 28, 28)
    first = torch.relu(torch.max_pool2d(torch.conv2d(image, cnn[0].weight, cnn[0].bias), 2))
    second = torch.relu(torch.max_pool2d(torch.conv2d(first, cnn[3].weight, cnn[3].bias), 2))
    wanted = torch.cat([first.flatten(1), second.flatten(1), cnn(image)], 1)
    torch.testing.assert_close(features(cnn, image), wanted, rtol=1e-4, atol=1e-5)


def test_one_image_makes_no_triplet():
    with pytest.raises(OptionError, match="batch_size must be 2 or more"):
        triplet(nn.Sequential())(nn.Identity(), (torch.zeros(1, 1, 84, 84), torch.zeros(1, 3)))


def test_the_loss_by_hand():
    """With the pixels' own values as features: three crops of one brightness each, and of random
    places of the same images."""
    pixels = nn.Sequential(nn.Flatten(), nn.Linear(4, 4, bias=False))
    pixels[1].weight.data = torch.eye(4)
    brightness, random = [1.0, 0.5, 0.25], [0.0, 0.75, 0.0]
    canvas = torch.zeros(3, 1, 8, 8)
    for image, inside, outside in zip(canvas, brightness, random, strict=True):
        image[0, 2:6, 2:6] = inside
        image[0, :2, :2] = outside

    class Middle(nn.Module):
        def forward(self, images):
            return images[:, :, 3:5, 3:5]

    corner = torch.tensor([[0.01, -0.75, -0.75]]).expand(3, 3)
    for weight, margin in ((1.0, 1.0), (1.0, 5.0), (0.5, 0.0)):
        loss, share = triplet(pixels, margin, weight)(Middle(), (canvas, corner))
        hinges = [
            max(0.0, weight * 4 * (a - b) ** 2 - 4 * (a - r) ** 2 + margin)
            for i, a in enumerate(brightness)
            for j, b in enumerate(brightness)
            for r in random
            if i != j
        ]
        assert float(loss) == pytest.approx(sum(hinges) / len(hinges), abs=1e-5)
        assert float(share) == pytest.approx(100 * sum(h > 0 for h in hinges) / len(hinges))
    # the network whose features it compares stays its owner's
    assert all(part.training for part in pixels.modules())
    assert all(p.requires_grad and p.grad is None for p in pixels.parameters())


def test_a_digit_is_found_where_boxes_overlap_by_more_than_half():
    locator = build_model(ModelConfig("locator", (1, 84, 84), size=28))
    images = torch.rand(3, 1, 84, 84)
    half = 42 * sum(SIZES) / 2  # where it looks at first
    left, right = 42 - half, 42 + half
    middle = [left + (right - left) * part for part in (0.51, 0.49)]
    truth = torch.tensor([[left, left, right, end] for end in (right, *middle)])
    assert overlap(truth, truth[:1]).tolist() == pytest.approx([1, 0.51, 0.49])
    task = Colocalise()
    assert (task.overlaps(locator, (images, truth)) > OVERLAP).tolist() == [True, True, False]
    assert float(overlap(truth[:1], truth[:1] + 50)) == 0
    with pytest.raises(OptionError, match="not Linear"):
        task.overlaps(nn.Linear(1, 1), (images, truth))


def test_a_window_keeps_its_bounds():
    window = Window()
    assert not window.has_identity
    theta = torch.tensor([[0.0, 0.0, 0.0], [0.7, -0.4, 2.0], [-1e9, 1e9, -1e9], [1e9, -1e9, 1e9]])
    s, tx, ty = stn.Attention().from_matrix(window.matrix(theta)).unbind(1)
    assert s.tolist() == pytest.approx([0.385, *s[1:2].tolist(), 0.35, 0.42])
    assert (tx.tolist()[2:], ty.tolist()[2:]) == (
        pytest.approx([0.7, -0.7]),
        pytest.approx([-0.7, 0.7]),
    )
    torch.testing.assert_close(window.from_matrix(window.matrix(theta[:2])), theta[:2])
    # people are shown what it is bounded to
    names, values, start = theta_values(window, theta)
    assert names == ["s", "tx", "ty"]
    torch.testing.assert_close(values, torch.stack([s, tx, ty], dim=1))
    assert start.tolist() == pytest.approx([0.385, 0, 0])


class Killer(nullcontext):
    """Kills a run in its second step."""

    def step(self, iteration, loss, error):
        if iteration == 2:
            raise KeyboardInterrupt


@pytest.mark.slow
def test_from_set_to_record(tiny, tmp_path):
    encoder = TABLE1.cell("p", "cnn", recipe="quick")
    encoder = replace(
        encoder,
        recipe=replace(encoder.recipe, iterations=2, batch_size=8),
        model=replace(encoder.model, parameters=10_000),
    )
    plan = COLOCALISATION.plan(datasets=["tc3", "t3"])
    assert [c.name for c in plan] == ["t3--locator--seed0", "tc3--locator--seed0"]
    short = replace(plan[0].recipe, iterations=3, batch_size=4)
    plan = [replace(c, recipe=short, start=encoder) for c in plan]
    # one of another recipe is set aside, as a cell's is
    other = replace(encoder, recipe=replace(encoder.recipe, iterations=1))
    run(other, tmp_path, data_root=tiny)
    console = Console(file=io.StringIO())
    records = reproduce(plan, tmp_path, data_root=tiny, console=console)
    for record in records:
        assert record.experiment == "colocalisation"
        assert record.validation_error_percent is None
        assert record.test_images == 100
        assert record.test_error_percent == round(record.test_error_percent)
    assert (tmp_path / "table1-quick" / "p--cnn--seed0.json").is_file()
    assert reproduce(plan, tmp_path, data_root=tiny, console=console) == []
    assert encoder.checkpoint(tmp_path).with_name("checkpoint-old.pt").is_file()

    # features of another network, or of other data: other runs
    assert all(c.is_recorded(tmp_path) for c in plan)
    assert not replace(plan[0], start=other).is_recorded(tmp_path)
    assert not replace(plan[0], start=None).is_recorded(tmp_path)
    made = records[0].config["start"]["config"]
    assert (made["dataset"], made["data_version"]) == ("p", 2)
    loaded = load_model(plan[0].folder(tmp_path))
    assert loaded.run.config == plan[0]
    assert loaded.test_error_percent == records[0].test_error_percent

    # an encoder that was killed halfway is trained to its end, whatever record there is of it
    encoder.checkpoint(tmp_path).unlink()
    with pytest.raises(KeyboardInterrupt):
        run(encoder, tmp_path, data_root=tiny, callbacks=[Killer()], checkpoint_every=1)
    assert encoder.steps_done(tmp_path) == 1
    run(replace(plan[0], seed=1), tmp_path, data_root=tiny)
    assert encoder.steps_done(tmp_path) == 2

    with pytest.raises(OptionError, match="a Locator is no classifier"):
        run(COLOCALISATION.cell("r", "locator"), tmp_path, data_root=tiny)
    with pytest.raises(OptionError, match="'t3' has no labels: .* locator on it, not a CNN"):
        run(COLOCALISATION.cell("t3", "cnn"), tmp_path, data_root=tiny)
    with pytest.raises(OptionError, match="has to start from that of a CNN"):
        run(replace(plan[0], start=None, seed=2), tmp_path, data_root=tiny)

    pictures = open_pictures(str(plan[0].folder(tmp_path)), count=3, data_root=tiny)
    assert len(list(pictures.training_film(2))) == 2
    assert len(list(pictures.motion_film(2))) == 2
    for kind in ("sheet", "mistakes", "means", "theta", "paths", "curves"):
        assert pictures.draw(kind).axes
    titles = [axes.get_title() for axes in pictures.draw("curves").axes]
    assert titles == ["training loss", "triplets not fulfilled, %", "learning rate"]
