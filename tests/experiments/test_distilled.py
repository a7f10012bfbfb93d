"""The ST-CNN that are taught by others."""

from contextlib import nullcontext
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from torch import nn

from spatial_transformer.errors import OptionError
from spatial_transformer.experiments.distilled.config import DISTILLED, distil, teachers_of
from spatial_transformer.experiments.distilled.teach import distillation
from spatial_transformer.experiments.reproduce import reproduce


class Scores(nn.Module):
    """Whose scores are some of the image's pixels."""

    def __init__(self, first):
        super().__init__()
        self.first = first
        self.scale = nn.Parameter(torch.tensor(1.3))
        self.dropout = nn.Dropout(0.9)

    def forward(self, images):
        return self.dropout(self.scale * images.flatten(1)[:, self.first : self.first + 4])


def test_the_loss_is_the_cross_entropy_with_teachers_and_labels_mixed():
    images, labels = torch.randn(5, 1, 4, 4), torch.tensor([0, 3, 1, 2, 0])
    teachers = [Scores(4), Scores(7), Scores(12)]
    network = Scores(0).eval()
    loss, wrong = distillation(teachers, 0.7)(network, (images, labels))
    flat = 1.3 * images.flatten(1).double().numpy()
    taught = np.mean([softmax(flat[:, k : k + 4], axis=1) for k in (4, 7, 12)], axis=0)
    target = 0.7 * taught + 0.3 * np.eye(4)[labels]
    expected = -(target * log_softmax(flat[:, :4], axis=1)).sum(1).mean()
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-6)
    assert float(wrong) == pytest.approx(100 * (flat[:, :4].argmax(1) != labels.numpy()).mean())
    loss.backward()
    assert network.scale.grad is not None
    assert all(t.scale.grad is None and not t.training for t in teachers)


def test_bad_options_are_named():
    with pytest.raises(OptionError, match=r"one teacher or more and a weight in \(0, 1\], got 0"):
        distillation([], 0.5)
    for weight in (0.0, 1.5, float("nan")):
        with pytest.raises(OptionError, match=f"got 1 and {weight}"):
            distillation([nn.Identity()], weight)


def test_each_is_taught_by_the_three_of_its_data_set():
    for config in DISTILLED.plan(models=["st_cnn_projective"], datasets=["r", "rts"]):
        teachers = teachers_of(config)
        assert [t.name for t in teachers] == [
            f"{config.dataset}--st_cnn_{t}--seed0"
            for t in ("affine", "projective", "thin_plate_spline")
        ]
        assert {t.experiment for t in teachers} == {"table1"}
        assert config.model in [t.model for t in teachers]  # of the same size
        assert config.recipe == replace(teachers[0].recipe, label_smoothing=0.0)


class Killer(nullcontext):
    """Kills a run in its second step."""

    def step(self, iteration, loss, error):
        if iteration == 2:
            raise KeyboardInterrupt


@pytest.mark.slow
def test_teachers_are_made_first_and_a_killed_run_goes_on_bit_for_bit(tiny, tmp_path):
    def small(config, **recipe):
        model = replace(config.model, parameters=30_000)
        return replace(config, model=model, recipe=replace(config.recipe, batch_size=8, **recipe))

    def teachers(config):
        return [small(t, iterations=2) for t in teachers_of(config)[::2]]

    plan = [small(c, iterations=4) for c in DISTILLED.plan(models=["st_cnn_affine"],
                                                           datasets=["r"])]  # fmt: skip
    run_one = partial(distil, teachers=teachers)
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    (record,) = reproduce(plan, whole, data_root=tiny, run_one=run_one, needs=teachers)
    assert record.path.as_posix() == "distilled/r--st_cnn_affine--seed0.json"
    names = {"r--st_cnn_affine--seed0", "r--st_cnn_thin_plate_spline--seed0"}
    assert {path.stem for path in (whole / "table1").glob("*.json")} == names
    made = {p: p.stat().st_mtime_ns for p in (whole / "table1").glob("*.json")}
    run_one(replace(plan[0], seed=1), whole, data_root=tiny)
    assert made == {p: p.stat().st_mtime_ns for p in made}  # not made again

    with pytest.raises(KeyboardInterrupt):
        run_one(plan[0], resumed, data_root=tiny, watchers=[Killer()], checkpoint_every=1)
    again = run_one(plan[0], resumed, data_root=tiny)
    assert again.train_loss == record.train_loss
    one, other = (torch.load(plan[0].checkpoint(out), weights_only=True)["model"]
                  for out in (whole, resumed))  # fmt: skip
    assert all(torch.equal(one[k], other[k]) for k in one)
