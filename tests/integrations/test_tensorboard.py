"""What is logged is what happened: read back from the event files; the model is left as it was."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

import spatial_transformer as stn
from spatial_transformer.errors import OptionError
from spatial_transformer.integrations.tensorboard import SpatialTransformerCallback, log_transformer

tensorboard = pytest.importorskip(
    "torch.utils.tensorboard", reason="tensorboard is not installed", exc_type=ImportError
)


def events(folder):
    """Everything in a folder's event files."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    sizes = {"scalars": 0, "histograms": 0, "images": 0}
    return EventAccumulator(str(folder), size_guidance=sizes).Reload()


def scalar(found, tag):
    return [(e.step, e.value) for e in found.Scalars(tag)]


def picture(found, tag):
    import io

    from PIL import Image

    (event,) = found.Images(tag)
    return np.asarray(Image.open(io.BytesIO(event.encoded_image_string)).convert("L"))


class Fixed(nn.Module):
    """A localisation network that has made up its mind."""

    def __init__(self, theta):
        super().__init__()
        self.theta = theta

    def forward(self, image):
        return self.theta


@pytest.fixture
def writer(tmp_path):
    with tensorboard.SummaryWriter(str(tmp_path)) as made:
        yield made


class TestFunction:
    def test_theta_and_pictures(self, writer, tmp_path):
        theta = torch.tensor([[0.5, 0.1, 0.0], [0.5, 0.3, 0.0], [0.5, -0.1, 1.0]])
        model = nn.Sequential(stn.SpatialTransformer(Fixed(theta), "attention", 6), nn.Dropout())
        model.train()
        images = torch.rand(3, 1, 8, 8)
        state = torch.get_rng_state()
        log_transformer(writer, model, images, step=7, count=2)
        assert torch.equal(torch.get_rng_state(), state)
        assert all(m.training for m in model.modules())
        writer.flush()
        found = events(tmp_path)
        assert scalar(found, "0/theta_mean/tx") == [(7, pytest.approx(0.1))]
        assert scalar(found, "0/theta_std/tx") == [(7, pytest.approx(0.16329932))]
        assert scalar(found, "0/theta_std/s") == [(7, 0.0)]
        # the third looks half beyond the lower edge
        assert scalar(found, "0/outside") == [(7, pytest.approx(1 / 6))]
        assert scalar(found, "0/not_finite") == [(7, 0.0)]
        (histogram,) = found.Histograms("0/theta/tx")
        value = histogram.histogram_value
        assert (value.num, value.min, value.max) == (3, pytest.approx(-0.1), pytest.approx(0.3))
        assert set(found.Tags()["histograms"]) == {f"0/theta/{p}" for p in ("s", "tx", "ty")}
        shown = picture(found, "0/input")
        assert shown.shape == (8, 17)
        np.testing.assert_allclose(shown[:, 9:] / 255, images[1, 0].numpy(), atol=1 / 255)
        wanted = stn.warp(images, theta, "attention", 6)
        shown = picture(found, "0/warped")
        np.testing.assert_allclose(shown[:, :6] / 255, wanted[0, 0].numpy(), atol=1 / 255)

    @pytest.mark.parametrize(
        ("layer", "tags"),
        [
            (stn.Parallel("fully_connected", "translation", count=2),
             {"transformer/0/theta/tx", "transformer/1/theta/ty"}),
            (stn.Cascade(["fully_connected"], "translation", steps=2), {"transformer/theta/tx"}),
            (stn.SpatialTransformer("fully_connected", "displacement"), {"transformer/theta/all"}),
        ],
        ids=["parallel", "cascade", "many parameters"],
    )  # fmt: skip
    def test_every_kind_of_layer(self, layer, tags, writer, tmp_path):
        log_transformer(writer, layer, torch.rand(2, 3, 8, 8), step=0)
        writer.flush()
        assert tags <= set(events(tmp_path).Tags()["histograms"])

    def test_volumes_features_and_nan(self, writer, tmp_path):
        theta = torch.full((2, 12), torch.nan)
        layer = stn.SpatialTransformer(Fixed(theta), stn.Affine(dims=3))
        log_transformer(writer, layer, 9 * torch.randn(2, 5, 4, 6, 8), step=0)
        writer.flush()
        found = events(tmp_path)
        assert found.Tags()["histograms"] == []
        assert scalar(found, "transformer/outside") == [(0, 1.0)]
        assert scalar(found, "transformer/not_finite") == [(0, 1.0)]
        assert picture(found, "transformer/input").shape == (6, 17)

    def test_a_model_without_one(self, writer):
        with pytest.raises(OptionError, match="no spatial transformer to log"):
            log_transformer(writer, nn.Flatten(), torch.rand(1, 1, 2, 2), step=0)


def test_stn_train_logs_all_of_it(tiny, tmp_path, capsys, monkeypatch):
    from spatial_transformer.cli.app import main

    words = ["train", "--model", "st_fcn", "--data", "r", "--iterations", 6, "--batch-size", 16,
             "--parameters", 40_000, "--device", "cpu", "--data-root", tiny]  # fmt: skip

    def train(out, *more):
        monkeypatch.setattr(sys, "argv", ["stn", *map(str, [*words, "--out", out, *more])])
        with pytest.raises(SystemExit, match="0"):
            main()
        return out / "table1" / "r--st_fcn_affine--seed0"

    folder = train(tmp_path / "a", "--tensorboard")
    found = events(folder / "tensorboard")
    assert [step for step, _ in scalar(found, "loss/train")] == [1, 2, 3, 4, 5, 6]
    for tag in ("error_percent/train", "loss/test", "error_percent/validation"):
        assert len(scalar(found, tag)) in (1, 6)
    assert scalar(found, "transformer/theta_mean/a11")[0][0] == 1
    assert "transformer/theta/a23" in found.Tags()["histograms"]
    assert picture(found, "transformer/warped").shape == (28, 8 * 29 - 1)
    # looking changes nothing
    plain = train(tmp_path / "b")
    states = [torch.load(f / "checkpoint.pt")["model"] for f in (folder, plain)]
    assert all(torch.equal(states[0][n], states[1][n]) for n in states[0])


def test_stacked_images_are_logged_one_by_one(tmp_path):
    from spatial_transformer.experiments.training.progress import TensorBoard

    with TensorBoard(tmp_path) as board:
        layer = stn.SpatialTransformer("fully_connected", "affine")
        board.see(1, layer, torch.rand(2, 3, 1, 8, 8))
        board.see(1, nn.Flatten(), torch.rand(2, 8))
    assert picture(events(tmp_path), "transformer/input").shape == (8, 6 * 9 - 1)


LIGHTNING = """
import sys, torch
from torch import nn
import spatial_transformer as stn
from spatial_transformer.integrations.tensorboard import SpatialTransformerCallback
assert not {{"lightning", "pytorch_lightning"}} & set(sys.modules)
import {name} as pl
from {name}.loggers import TensorBoardLogger

class Model(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.look = stn.SpatialTransformer("fully_connected", "affine", (8, 8))
        self.net = nn.Sequential(nn.Flatten(), nn.LazyLinear(2))
        self(torch.rand(1, 1, 8, 8))
    def forward(self, images):
        return self.net(self.look(images))
    def training_step(self, batch, index):
        return nn.functional.cross_entropy(self(batch[0]), batch[1])
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.01)

data = torch.utils.data.TensorDataset(torch.rand(16, 1, 8, 8), torch.randint(2, (16,)))
trainer = pl.Trainer(
    max_epochs=1, accelerator="cpu", callbacks=[SpatialTransformerCallback(every=2, count=3)],
    logger=TensorBoardLogger(sys.argv[1], name="", version=""), enable_progress_bar=False,
    enable_checkpointing=False, enable_model_summary=False,
)
trainer.fit(Model(), torch.utils.data.DataLoader(data, batch_size=4))
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lightning.pytorch", "pytorch_lightning"])
def test_lightning_in_either_name(name, tmp_path):
    pytest.importorskip(name, reason=f"{name} is not installed")
    script = tmp_path / "train.py"
    script.write_text(LIGHTNING.format(name=name))
    subprocess.run([sys.executable, script, tmp_path / "log"], check=True, capture_output=True)
    found = events(tmp_path / "log")
    assert [step for step, _ in scalar(found, "loss/train")] == [2, 4]
    assert [step for step, _ in scalar(found, "look/theta_mean/a11")] == [2, 4]
    assert len(found.Histograms("look/theta/a23")) == 2
    assert len(found.Images("look/warped")) == 2


class Mine(SpatialTransformerCallback):
    def images(self, batch):
        return batch["x"]


class TestCallback:
    def test_it_is_lightnings(self):
        lightning = pytest.importorskip("lightning.pytorch", reason="lightning is not installed")
        callback = SpatialTransformerCallback(every=3)
        assert isinstance(callback, lightning.Callback)
        assert isinstance(callback, SpatialTransformerCallback)
        copy = pickle.loads(pickle.dumps(callback))
        assert copy.every == 3
        mine = Mine(count=2)
        assert isinstance(mine, lightning.Callback)
        assert mine.images({"x": 5}) == 5

    def test_batches(self):
        pytest.importorskip("lightning.pytorch", reason="lightning is not installed")
        images = torch.rand(1, 1, 2, 2)
        callback = SpatialTransformerCallback()
        for batch in (images, (images, 3), [images], {"image": images, "label": 3}):
            assert callback.images(batch) is images
        with pytest.raises(OptionError, match="override SpatialTransformerCallback.images"):
            callback.images((torch.rand(3), images))
        for name in ("every", "count"):
            for value in (0, 1.5, True, float("nan"), None):
                with pytest.raises(OptionError, match=f"^{name} must be"):
                    SpatialTransformerCallback(**{name: value})

    def test_without_lightning(self, monkeypatch):
        for name in ("lightning.pytorch", "pytorch_lightning"):
            monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(OptionError, match="pip install lightning"):
            SpatialTransformerCallback()
