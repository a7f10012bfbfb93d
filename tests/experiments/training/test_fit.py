"""Training: it learns, it goes on exactly where it stopped, its files are whole or not there."""

import json
import math
import os
import signal
import subprocess
from contextlib import contextmanager
from dataclasses import asdict, replace

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from spatial_transformer.errors import CheckpointError, DivergenceError, OptionError
from spatial_transformer.experiments.training import records
from spatial_transformer.experiments.training.checkpoint import load_checkpoint, save_checkpoint
from spatial_transformer.experiments.training.history import History, kept_steps
from spatial_transformer.experiments.training.loop import (
    classification,
    evaluate,
    fit,
    reproducible,
)
from spatial_transformer.experiments.training.recipe import PAPER, Recipe, seed_everything
from spatial_transformer.experiments.training.records import Record, load_record, load_records
from spatial_transformer.export.program import save_program
from spatial_transformer.files import write_whole
from spatial_transformer.modules.classifier import Transformed
from spatial_transformer.modules.spatial_transformer import SpatialTransformer
from spatial_transformer.pretrained.weights import save_weights

RECIPE = Recipe(iterations=30, batch_size=16, lr=0.05, average=0.8, clip=1.0)


def batches(k):
    """Which half of a row is brighter."""
    g = torch.Generator().manual_seed(k)
    x = torch.rand(16, 8, generator=g)
    return x, (x[:, :4].sum(1) > x[:, 4:].sum(1)).long()


def build(seed=0):
    seed_everything(seed)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 2))


def trained(recipe=RECIPE, **options):
    fabric = Fabric(accelerator="cpu", devices=1)
    return fit(fabric, build(), batches, recipe, **options)


def test_learns():
    before = evaluate(build(), [batches(1000)])
    fitted = trained(replace(RECIPE, iterations=200))
    after = evaluate(fitted.model, [batches(1000)])
    assert after.loss < before.loss / 2
    assert after.error_percent <= 10


def test_errors_are_counted_by_class():
    scores = torch.tensor([[3.0, 0, 0], [0, 3, 0], [0, 3, 0], [0, 0, 3], [3, 0, 0]])
    truth = torch.tensor([0, 1, 0, 0, 1])
    result = evaluate(nn.Identity(), [(scores[:2], truth[:2]), (scores[2:], truth[2:])])
    assert result.mistakes == [2, 3, 4]
    assert result.by_class == {0: (2, 3), 1: (1, 2)}


def test_label_smoothing_shares_the_target():
    logits = torch.tensor([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0]], dtype=torch.float64)
    labels = torch.tensor([0, 2])
    target = torch.tensor([[0.8, 0.1, 0.1], [0.1, 0.1, 0.8]], dtype=torch.float64)
    expected = -(target * logits.log_softmax(1)).sum(1).mean()
    loss, error = classification(0.3)(nn.Identity(), (logits, labels))
    torch.testing.assert_close(loss, expected)
    assert error == 50
    # and it is what a recipe trains with
    plain, smooth = (trained(replace(RECIPE, label_smoothing=s)) for s in (0.0, 0.9))
    assert smooth.train_loss > plain.train_loss + 0.1
    with pytest.raises(OptionError, match="label_smoothing is of classification"):
        trained(replace(RECIPE, label_smoothing=0.1), objective=classification(0.0))


@pytest.mark.parametrize("average", [0.0, 0.8])
@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
def test_a_stopped_run_goes_on_bit_for_bit(tmp_path, optimiser, average):
    recipe = replace(RECIPE, optimiser=optimiser, average=average)
    whole = trained(recipe)
    file = tmp_path / "checkpoint.pt"
    trained(recipe, checkpoint=file, stop_after=13)
    assert load_checkpoint(file)["iteration"] == 13
    torch.manual_seed(99)  # what another process would have
    resumed = trained(recipe, checkpoint=file)
    for a, b in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(a, b)
    assert whole.train_loss == resumed.train_loss


@pytest.mark.parametrize("before", [(False, False), (True, False), (True, True)])
def test_training_on_a_gpu_is_reproducible_and_leaves_torch_as_it_was(monkeypatch, before):
    def modes():
        return (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        )

    monkeypatch.setattr(os, "environ", {})
    torch.use_deterministic_algorithms(before[0], warn_only=before[1])
    try:
        with reproducible(torch.device("cpu")):
            assert modes() == before
        try:
            with reproducible(torch.device("cuda")):
                inside = modes()
                raise KeyboardInterrupt
        except KeyboardInterrupt:
            assert inside == (True, True)
        assert os.environ == {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
        assert modes() == before
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.skipif(
    os.environ.get("ATEN_CPU_CAPABILITY") == "default",
    reason="torch 2.13's compiler then writes C++ with at::vec that it does not include",
)
@pytest.mark.slow
def test_compiled_steps_are_the_same_but_for_rounding(tmp_path):
    recipe = replace(RECIPE, iterations=12)
    torch.compiler.reset()
    torch._dynamo.utils.counters.clear()
    with torch._inductor.config.patch(fallback_random=True):  # the same elements dropped
        plain, whole = trained(recipe), trained(recipe, compiled=True)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    for a, b in zip(plain.model.parameters(), whole.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    # and it goes on bit for bit, in the layout of names that a run that is not compiled has
    file = tmp_path / "checkpoint.pt"
    whole = trained(recipe, compiled=True)
    trained(recipe, compiled=True, checkpoint=file, stop_after=5)
    assert set(load_checkpoint(file)["model"]) == set(build().state_dict())
    resumed = trained(recipe, compiled=True, checkpoint=file)
    for a, b in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(a, b)
    assert whole.train_loss == resumed.train_loss


def test_the_average_is_what_is_returned():
    plain = trained(replace(RECIPE, average=0.0)).model
    averaged = trained().model
    assert not torch.equal(plain[0].weight, averaged[0].weight)


def test_another_runs_checkpoint_is_refused(tmp_path):
    file = tmp_path / "checkpoint.pt"
    trained(checkpoint=file, stop_after=2, identity={"seed": 0})
    with pytest.raises(
        CheckpointError, match=r"belongs to another run \(it differs in recipe, seed"
    ):
        trained(replace(RECIPE, lr=1.0), checkpoint=file, identity={"seed": 1})


def test_broken_checkpoints_are_named(tmp_path):
    file = tmp_path / "checkpoint.pt"
    with pytest.raises(CheckpointError, match=r"checkpoint.pt: no such checkpoint"):
        load_checkpoint(file)
    for garbage in (b"", b"hello\n", b"\x80", b"PK\x03\x04"):
        file.write_bytes(garbage)
        with pytest.raises(CheckpointError, match=r"checkpoint.pt: broken or not a checkpoint"):
            load_checkpoint(file)
    save_checkpoint(file, {"a": torch.zeros(100)})
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(CheckpointError, match=r"checkpoint.pt: broken or not a checkpoint"):
        load_checkpoint(file)
    torch.save({"format": 0}, file)
    with pytest.raises(CheckpointError, match="format 0, this version reads 2"):
        load_checkpoint(file)


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path):
    file = tmp_path / "x.json"
    file.write_text("old")

    def fail(path):
        path.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_whole(file, fail)
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]
    assert file.read_text() == "old"


@contextmanager
def full_disk():
    """A file may have 1,000 bytes, as on a disk that is full. That of what pytest prints too: not a
    fixture, which would last until the test is reported.
    """
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)


@pytest.mark.parametrize("write", [
    lambda path: save_checkpoint(path, {"a": torch.zeros(10_000)}),
    lambda path: save_weights(nn.Linear(100, 100), path),
    lambda path: save_program(nn.Linear(100, 100), path, [torch.zeros(2, 100)]),
], ids=["checkpoint", "weights", "program"])  # fmt: skip
def test_a_full_disk_is_told_as_such(tmp_path, write):
    with full_disk(), pytest.raises(OSError, match="File too large"):
        write(tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_papers_rates():
    """0.01, divided by ten every 50k."""
    optimiser, schedule = PAPER.build(nn.Linear(1, 1))
    rates = []
    for k in range(150_000):
        if k % 50_000 in (0, 49_999):
            rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        schedule.step()
    assert rates == pytest.approx([0.01, 0.01, 0.001, 0.001, 0.0001, 0.0001])


RECORD = Record(
    experiment="table1", dataset="rts", model="cnn", seed=1, test_error_percent=1.5,
    validation_error_percent=1.6, test_loss=0.1, train_loss=0.2, test_images=10_000, iterations=3,
    batch_size=4, parameters=5, recipe=asdict(RECIPE), config={"data_version": 1, "start": None},
    wall_seconds=1.0, hardware="x", torch="2", commit="abc",
)  # fmt: skip


class TestRecords:
    def test_one_of_another_run_is_kept(self, tmp_path):
        path = RECORD.save(tmp_path)
        again = replace(RECORD, test_error_percent=2.0)
        assert again.save(tmp_path) == path
        assert load_records(tmp_path) == [again]
        assert not path.with_name(f"{path.name}.old").exists()
        for other in ({"recipe": asdict(replace(RECIPE, lr=7.0))}, {"config": {"data_version": 2}}):
            path.with_name(f"{path.name}.old").unlink(missing_ok=True)
            RECORD.save(tmp_path)
            replace(RECORD, **other).save(tmp_path)
            kept = path.with_name(f"{path.name}.old").rename(tmp_path / "kept.json")
            assert load_record(kept) == RECORD
            assert len(load_records(tmp_path)) == 1

    def test_round_trip(self, tmp_path):
        path = RECORD.save(tmp_path)
        assert path == tmp_path / "table1" / "rts--cnn--seed1.json"
        assert load_record(path) == RECORD
        mistaken = replace(RECORD, mistakes=list(range(0, 900, 3)))
        assert load_record(mistaken.save(tmp_path)) == mistaken
        assert len(path.read_text().splitlines()) < 60  # they are in one line
        assert load_record(RECORD.save(tmp_path)) == RECORD
        # nor did versions before keep them
        values = json.loads(path.read_text())
        del values["mistakes"]
        path.write_text(json.dumps(values))
        assert load_record(path) == RECORD
        # an option that is newer than the record did nothing
        values = json.loads(path.read_text())
        del values["recipe"]["label_smoothing"]
        path.write_text(json.dumps(values))
        assert load_record(path) == RECORD
        assert load_records(tmp_path) == load_records(tmp_path, "table1") == [RECORD]
        assert load_records(tmp_path, "table2") == []

    def test_one_that_is_being_written_is_none(self, tmp_path):
        path = RECORD.save(tmp_path)
        (path.parent / f".{path.stem}.tmpabc.json").write_text("{")
        assert load_records(tmp_path) == [RECORD]

    def test_the_commit_is_the_packages_own(self, tmp_path, monkeypatch):
        package = tmp_path / "src" / "package"
        (package / "training").mkdir(parents=True)
        (package / "data.py").touch()
        (package / "training" / "records.py").touch()
        monkeypatch.setattr(records, "__file__", str(package / "training" / "records.py"))

        def git(*words):
            who = ["-c", "user.name=x", "-c", "user.email=x@y.z"]
            done = subprocess.run(
                ["git", *who, *words], cwd=tmp_path, check=True, capture_output=True, text=True
            )
            return done.stdout.strip()

        assert records.commit() == "unknown"
        git("init")
        (tmp_path / "own.py").touch()
        git("add", "own.py")
        git("commit", "-m", "a user's own repository")
        assert records.commit() == "unknown"
        git("add", ".")
        git("commit", "-m", "the package's")
        (tmp_path / "notes").touch()
        assert records.commit() == git("rev-parse", "HEAD")
        (package / "data.py").write_text("changed")
        assert records.commit() == git("rev-parse", "HEAD") + "+"

    def test_broken_ones_are_named(self, tmp_path):
        path = RECORD.save(tmp_path)
        values = json.loads(path.read_text())
        path.write_text(path.read_text()[:-9])
        with pytest.raises(CheckpointError, match=r"rts--cnn--seed1.json: not a record"):
            load_record(path)
        for name, value in (("test_error_percent", None), ("seed", "1"), ("recipe", [])):
            path.write_text(json.dumps({**values, name: value}))
            with pytest.raises(CheckpointError, match=f"seed1.json: not a record: {name} is"):
                load_record(path)
        path.write_text(json.dumps({**values, "test_loss": 1, "validation_error_percent": None}))
        assert load_record(path).test_loss == 1
        del values["commit"]
        path.write_text(json.dumps(values))
        with pytest.raises(CheckpointError, match=r"missing \['commit'\], unknown \[\]"):
            load_record(path)

    @pytest.mark.parametrize(
        "name", ["test_error_percent", "validation_error_percent", "test_loss", "train_loss"]
    )
    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_records(self, name, value, tmp_path):
        with pytest.raises(DivergenceError, match=f"rts--cnn--seed1 cannot be: {name} is {value}"):
            replace(RECORD, **{name: value})
        path = RECORD.save(tmp_path)
        path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
        with pytest.raises(CheckpointError, match=f"seed1.json: not a record: .*{name} is {value}"):
            load_record(path)

    @pytest.mark.parametrize(
        ("option", "value"),
        [("lr", -1.0), ("lr", math.nan), ("clip", math.inf), ("batch_size", 2.5), ("depth", 3)],
    )
    def test_recipes_out_of_files(self, option, value, tmp_path):
        record, checkpoint = RECORD.save(tmp_path), tmp_path / "checkpoint.pt"
        values = json.loads(record.read_text())
        values["recipe"][option] = value
        record.write_text(json.dumps(values))
        save_checkpoint(checkpoint, {"run": values})
        for load, path in ((load_record, record), (load_checkpoint, checkpoint)):
            with pytest.raises(CheckpointError, match=rf"{path.name}: not .*{option}"):
                load(path)


def test_watchers_are_told_of_every_step_and_closed():
    class Spy:
        def __init__(self):
            self.steps, self.closed = [], False

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.closed = True

        def step(self, iteration, loss, error_percent):
            self.steps.append(iteration)

        def evaluated(self, iteration, part, measured):
            raise AssertionError("nothing is evaluated here")

    spy = Spy()
    trained(callbacks=[spy])
    assert spy.steps == list(range(1, 31))
    assert spy.closed


class TestHistory:
    PROBES = torch.rand(3, 1, 2, 4)

    def fitted(self, **options):
        history = History(self.PROBES, RECIPE.iterations)
        fabric = Fabric(accelerator="cpu", devices=1)
        seed_everything(0)
        layer = SpatialTransformer("fully_connected", "affine")
        inner = nn.Sequential(nn.Flatten(), nn.Dropout(0.1), nn.Linear(8, 2))
        model = Transformed(layer, inner)
        model(self.PROBES)  # sizes the lazy layers
        images = lambda k: (batches(k)[0].view(-1, 1, 2, 4), batches(k)[1])  # noqa: E731
        fitted = fit(fabric, model, images, RECIPE, history=history, **options)
        return fitted, history

    def test_it_changes_nothing_and_is_what_happened(self, monkeypatch):
        fitted, history = self.fitted()
        steps = history.series("step").tolist()
        assert steps[0] == 0
        assert steps[-1] == RECIPE.iterations
        assert steps == kept_steps(RECIPE.iterations)
        assert history.series("theta").shape == (len(steps), 3, 1, 6)
        assert history.series("classes").shape == (len(steps), 3)
        identity = torch.tensor([1.0, 0, 0, 0, 1, 0])
        assert torch.equal(history.series("theta")[0], identity.expand(3, 1, 6))
        assert not torch.equal(history.series("theta")[-1], history.series("theta")[0])
        assert float(history.series("loss")[-1]) == pytest.approx(fitted.train_loss)
        rates = history.series("rates")
        assert rates.shape == (len(steps), 2)
        assert rates[:, 0].max() > 10 * rates[-1, 0]  # one cycle
        monkeypatch.setattr(History, "wants", lambda self, step: False)
        without, none = self.fitted()
        assert len(none) == 0
        for a, b in zip(fitted.model.parameters(), without.model.parameters(), strict=True):
            assert torch.equal(a, b)

    def test_a_stopped_run_has_the_history_of_a_whole_one(self, tmp_path):
        _, whole = self.fitted()
        file = tmp_path / "checkpoint.pt"
        # a kill between two checkpoints: the second stretch goes back to the first's checkpoint
        self.fitted(checkpoint=file, stop_after=13)
        kept = file.read_bytes()
        self.fitted(checkpoint=file, stop_after=17)
        file.write_bytes(kept)
        _, resumed = self.fitted(checkpoint=file)
        stored = load_checkpoint(file)["history"]
        for name, values in whole.state().items():
            assert torch.equal(values, resumed.state()[name]), name
            assert torch.equal(values, stored[name]), name

    def test_a_checkpoint_without_one_is_gone_on_with(self, tmp_path):
        file = tmp_path / "checkpoint.pt"
        self.fitted(checkpoint=file, stop_after=13)
        state = load_checkpoint(file)
        del state["history"]  # as runs before histories have it
        save_checkpoint(file, state)
        _, history = self.fitted(checkpoint=file)
        assert history.series("step")[0] > 13
