"""Reading sequences: loss and errors by hand, captions, a record of digits and of sequences."""

import sys

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from torch import nn

from spatial_transformer.errors import OptionError
from spatial_transformer.experiments.data.catalogue import make_dataset
from spatial_transformer.experiments.models.build import ModelConfig, build_model
from spatial_transformer.experiments.runner.sequence import Sequences
from spatial_transformer.experiments.training.loop import classification, evaluate
from spatial_transformer.experiments.training.progress import EvalResult
from spatial_transformer.modules.predict import Prediction
from spatial_transformer.viz.survey import survey


class Says(nn.Module):
    """Scores for each image, whose number is its first pixel."""

    def __init__(self, scores):
        super().__init__()
        self.scores = nn.Parameter(torch.as_tensor(scores, dtype=torch.float32))

    def forward(self, images):
        return self.scores[images[:, 0, 0, 0].long()]


def numbered(count):
    return torch.arange(count).float()[:, None, None, None].expand(count, 1, 8, 8)


@pytest.fixture
def case():
    source = np.random.default_rng(0)
    return source.normal(size=(40, 3, 5)), source.integers(5, size=(40, 3))


def test_loss_and_errors_by_hand(case):
    scores, labels = case
    model = Says(scores)
    blocks = zip(numbered(40).split(17), torch.tensor(labels).split(17), strict=True)
    result = evaluate(model, blocks)
    logs = np.take_along_axis(log_softmax(scores, 2), labels[..., None], 2)
    wrong = scores.argmax(2) != labels
    assert result.loss == pytest.approx(-logs.mean(), rel=1e-5)
    assert (result.images, result.length) == (40, 3)
    assert result.mistakes == np.flatnonzero(wrong).tolist()
    assert result.error_percent == pytest.approx(100 * wrong.mean())
    assert result.sequence_error_percent == pytest.approx(100 * wrong.any(1).mean())
    batch = numbered(40), torch.tensor(labels)
    loss, error = classification(0.0)(model, batch)
    assert loss.item() == pytest.approx(-logs.mean(), rel=1e-5)
    assert error.item() == pytest.approx(100 * wrong.mean(), rel=1e-5)
    smoothed, _ = classification(0.1)(model, batch)
    expected = 0.9 * -logs.mean() + 0.1 * -log_softmax(scores, 2).mean()
    assert smoothed.item() == pytest.approx(expected, rel=1e-5)


def test_one_label_is_no_sequence():
    assert EvalResult(0.1, [1, 2], 8).sequence_error_percent is None
    assert EvalResult(0.1, [1, 2], 8).error_percent == 25


def test_a_survey_of_sequences(case):
    scores, labels = case
    found = survey(Says(scores), [(numbered(40), torch.tensor(labels))], mistakes=100)
    wrong = (scores.argmax(2) != labels).any(1)
    assert found.wrong == len(found.mistakes) == wrong.sum()
    for mistake in found.mistakes:
        number = int(mistake.image[0, 0, 0])
        assert mistake.truth == labels[number].tolist()
        assert mistake.predicted == scores[number].argmax(1).tolist()
        sure = np.exp(log_softmax(scores[number], 1).max(1)).prod()
        assert mistake.confidence == pytest.approx(sure, rel=1e-5)
    for k in range(5):
        images, _ = np.nonzero(labels == k)
        assert found.before[k, 0, 0, 0].item() == pytest.approx(images.mean(), rel=1e-5)


def test_the_mean_of_a_class_is_of_the_glimpse_at_its_place(monkeypatch):
    """A glimpse has the brightness of its digit; with one output for all, its own."""
    labels = torch.tensor([[0, 2, 1], [2, 2, 0]])
    for views in (
        labels.float()[:, :, None, None, None].expand(2, 3, 1, 4, 4),
        numbered(2)[:, None],
    ):
        prediction = Prediction(None, views, None)
        monkeypatch.setattr(sys.modules[survey.__module__], "predict", lambda *a, p=prediction: p)
        found = survey(nn.Identity(), [(numbered(2), labels)])
        means = found.after.flatten(1).mean(1).tolist()
        assert means == pytest.approx([0, 1, 2] if views.shape[1] == 3 else [0.5, 0, 2 / 3])


def test_captions():
    task = Sequences()
    truth = torch.tensor([[7, 8, 1], [0, 0, 2]])
    scores = nn.functional.one_hot(torch.tensor([[7, 3, 1], [0, 0, 2]]), 10).float()
    shown = task.captions(Prediction(scores, None, None), nn.Identity(), (torch.zeros(2), truth))
    assert shown == {"predicted": ["731", "002"], "truth": ["781", "002"]}
    frames = task.frame_captions(torch.stack([truth, truth.flip(1)]), truth)
    assert frames["predicted"] == [["781", "002"], ["187", "200"]]
    assert frames["truth"] == ["781", "002"]
    assert Sequences(blank=10).spell(torch.tensor([[1, 10, 10], [10, 10, 10]])) == ["1", "-"]


def test_networks_that_read_no_sequence_are_refused():
    task, data = Sequences(), make_dataset("sequence100")
    task.check(build_model(ModelConfig("cnn_sequence", data.in_shape, length=3)), data, False)
    for config, scores in (
        (ModelConfig("fcn", data.in_shape), r"\(10,\)"),
        (ModelConfig("cnn_sequence", data.in_shape, length=2), r"\(2, 10\)"),
        (ModelConfig("cnn_sequence", data.in_shape, 11, length=3), r"\(3, 11\)"),
    ):
        with pytest.raises(OptionError, match=f"'sequence100' has sequences of 3.*, not {scores}"):
            task.check(build_model(config), data, False)
    with pytest.raises(OptionError, match="a Locator is no classifier"):
        task.check(build_model(ModelConfig("locator", (1, 84, 84), size=28)), data, False)
