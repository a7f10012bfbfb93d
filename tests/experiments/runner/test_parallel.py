"""Several runs at once end in the numbers of one after the other (of as many threads), and are told
of however one of them ends."""

import io
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from rich.console import Console

from spatial_transformer.errors import DataError, OptionError, SpatialTransformerError
from spatial_transformer.experiments.data import mnist
from spatial_transformer.experiments.runner.reproduce import missing, reproduce
from spatial_transformer.experiments.runner.run import run
from spatial_transformer.experiments.tables.table1.config import TABLE1
from spatial_transformer.experiments.training.records import load_records

pytestmark = pytest.mark.slow


def plan(iterations=11):
    return [
        replace(
            c,
            recipe=replace(c.recipe, iterations=iterations, batch_size=16),
            model=replace(c.model, parameters=40_000),
        )
        for c in TABLE1.plan(datasets=["r"], models=["fcn", "st_fcn_affine", "cnn"])
    ]


def run_tiny(config, out, *, sums, dies="", fails="", **options):
    """A run on digits that are not MNIST's, in a process that knows nothing of fixtures."""
    mnist.SHA256 = sums
    if dies and dies in config.name:
        os.kill(os.getpid(), signal.SIGKILL)
    if fails == "odd":
        raise OddError("a", b="b")
    if fails == "bug":
        raise RuntimeError("a bug")
    if fails and fails in config.name:
        raise DataError(f"{config.name}: no digits")
    return run(config, out, **options)


def numbers(out):
    return {r.path: (r.test_loss, r.train_loss, r.test_error_percent) for r in load_records(out)}


def at_once(plan, out, root, **options):
    console = Console(file=io.StringIO(), width=200)
    run_one = partial(run_tiny, sums=mnist.SHA256, **options)
    done = reproduce(plan, out, data_root=root, jobs=2, console=console, run_one=run_one)
    return done, console.file.getvalue()


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_the_same_numbers_as_one_after_the_other(tiny, tmp_path, one_thread):
    quiet = Console(file=io.StringIO())
    reproduce(plan(), tmp_path / "serial", data_root=tiny, console=quiet)
    done, said = at_once(plan(), tmp_path / "parallel", tiny)
    assert len(done) == 3
    assert numbers(tmp_path / "parallel") == numbers(tmp_path / "serial")
    assert "3 of 3 runs recorded" in said
    assert at_once(plan(), tmp_path / "parallel", tiny)[0] == []


def noting_threads(config, out, *, sums, **options):
    (out / f"{config.name}.threads").write_text(str(torch.get_num_threads()))
    return run_tiny(config, out, sums=sums, **options)


def test_the_last_run_has_as_many_threads_as_if_nothing_had_been_stopped(tiny, tmp_path):
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        options = {"sums": mnist.SHA256}
        run_one, console = partial(noting_threads, **options), Console(file=io.StringIO())
        reproduce(plan()[:1], tmp_path, data_root=tiny, jobs=2, console=console, run_one=run_one)
    finally:
        torch.set_num_threads(threads)
    (noted,) = tmp_path.glob("*.threads")
    assert noted.read_text() == "1"


def test_an_error_is_raised_here_and_ends_the_others(tiny, tmp_path):
    began = time.perf_counter()
    with pytest.raises(DataError, match="r--st_fcn_affine--seed0: no digits"):
        at_once(plan(100_000), tmp_path, tiny, fails="st_fcn")
    assert time.perf_counter() - began < 60
    assert not load_records(tmp_path)


def test_errors_of_all_kinds_are_told(tiny, tmp_path):
    for fails, message in (
        ("odd", "OddError: a and b"),
        ("bug", "RuntimeError: a bug\n.*run_tiny"),
    ):
        with pytest.raises(SpatialTransformerError, match=f"(?s)r--fcn--seed0: {message}"):
            at_once(plan()[2:], tmp_path, tiny, fails=fails)


class OddError(SpatialTransformerError):
    """Which cannot be made again out of its words."""

    def __init__(self, a, *, b):
        super().__init__(f"{a} and {b}")


def test_a_process_that_dies_is_named(tiny, tmp_path):
    with pytest.raises(SpatialTransformerError, match=r"--cnn--seed0: its process died .*-9"):
        at_once(plan(), tmp_path, tiny, dies="--cnn")
    at_once(plan(), tmp_path, tiny)
    assert missing(plan(), tmp_path) == []


def test_the_runs_die_with_what_started_them(tiny, tmp_path):
    """Killed outright, so that it can tell nobody."""
    script = tmp_path / "script.py"
    script.write_text(
        "import sys; from functools import partial; from pathlib import Path\n"
        "from spatial_transformer.experiments.runner.parallel import run_at_once\n"
        "from tests.experiments.runner.test_parallel import plan, run_tiny\n"
        "if __name__ == '__main__':\n"
        "    sums = eval(sys.argv[3])\n"
        "    run_one = partial(run_tiny, sums=sums, checkpoint_every=5)\n"
        "    list(run_at_once(plan(100_000), Path(sys.argv[1]), 2, run_one, \n"
        "                     data_root=Path(sys.argv[2]), device='cpu'))\n"
    )
    root = Path(__file__).parents[3]
    out = tmp_path / "out"
    command = [sys.executable, str(script), str(out), str(tiny), repr(mnist.SHA256)]
    path = os.pathsep.join([str(root), *sys.path])
    parent = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path})
    checkpoints = [c.checkpoint(out) for c in plan()[:2]]
    wait_for(lambda: all(c.is_file() for c in checkpoints))
    parent.kill()
    parent.wait()
    time.sleep(1)
    stamps = [c.stat().st_mtime_ns for c in checkpoints]
    time.sleep(2)
    assert [c.stat().st_mtime_ns for c in checkpoints] == stamps


def wait_for(condition, seconds=60):
    for _ in range(10 * seconds):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds} s")


def test_jobs_are_a_positive_number(tmp_path):
    with pytest.raises(OptionError, match="jobs must be a positive number"):
        reproduce(plan(), tmp_path, jobs=0)


def test_data_is_looked_for_before_any_of_them_starts(tmp_path, monkeypatch):
    """They would each fetch it."""
    started = "spatial_transformer.experiments.runner.reproduce.run_at_once"
    monkeypatch.setattr(started, lambda *a, **k: pytest.fail("has started"))
    with pytest.raises(DataError, match="no such folder"):
        reproduce(
            plan(), tmp_path, data_root=tmp_path / "none", jobs=2, console=Console(quiet=True)
        )
