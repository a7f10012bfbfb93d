"""Recurrent spatial transformers: the smoke recipe from data to record and pictures."""

import json

import pytest
from PIL import Image

from spatial_transformer.experiments.models.build import ModelConfig
from spatial_transformer.experiments.publish import publish
from spatial_transformer.experiments.runner.pictures import open_pictures
from spatial_transformer.experiments.runner.run import run
from spatial_transformer.experiments.tables.recurrent.config import RECURRENT
from spatial_transformer.experiments.training.records import load_record


def test_a_cell_samples_to_its_networks_size():
    sizes = {c.model.label: c.model for c in RECURRENT.plan()}
    assert set(sizes) == set(RECURRENT.labels())
    assert sizes["st_sequence_affine"].sampled_size == (50, 50)
    assert sizes["st_rnn_sequence_affine"].sampled_size == (33, 33)
    assert {m.length for m in sizes.values()} == {3}
    assert ModelConfig().length == 1


@pytest.mark.slow
@pytest.mark.parametrize("label", RECURRENT.labels())
def test_the_smoke_recipe_from_data_to_pictures(label, tiny, tmp_path):
    (config,) = RECURRENT.plan(models=[label], recipe="smoke")
    record = run(config, tmp_path, data_root=tiny)
    assert record == load_record(tmp_path / record.path)
    assert config.matches(record)
    assert (record.test_images, record.length) == (100, 3)
    assert 0 < record.test_error_percent <= record.test_sequence_error_percent <= 100
    assert record.test_error_percent == pytest.approx(len(record.mistakes) / 3, abs=1e-4)
    assert record.validation_error_percent is not None
    assert RECURRENT.own([record]) == [record]

    drawn = open_pictures(str(config.folder(tmp_path)), data_root=tiny, count=3)
    figure = drawn.draw("sheet")
    texts = [t.get_text() for t in figure.axes[0].texts]
    read = [t for t in texts if t[:3].isdigit()]
    assert len(read) == 3
    assert all(len(t) == 3 or t[3:].startswith("\n(true: ") for t in read)
    transformed = config.model.has_transformer
    glimpses = 3 if "rnn" in label else 1
    assert len(figure.axes[0].images) == 3 * (1 + transformed * glimpses)
    for kind in ("mistakes", "means", "curves", *("theta", "paths") * transformed):
        drawn.draw(kind)
    for film in (drawn.motion_film, drawn.training_film):
        frames = list(film(2))
        assert len(frames) == 2
        assert all(isinstance(frame, Image.Image) for frame in frames)

    folder = publish(config.folder(tmp_path), tmp_path / "weights", data_root=tiny)
    assert folder.test_error_percent == pytest.approx(record.test_error_percent, abs=1)
    assert json.loads((tmp_path / "weights" / "config.json").read_text())
