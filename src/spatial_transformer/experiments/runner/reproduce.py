"""Reproduction of a table: runs its cells that have no record yet."""

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from rich.console import Console

from spatial_transformer.errors import CheckpointError, OptionError
from spatial_transformer.experiments.data.catalogue import make_dataset
from spatial_transformer.experiments.models.build import build_model
from spatial_transformer.experiments.runner.config import RunConfig
from spatial_transformer.experiments.runner.parallel import run_at_once
from spatial_transformer.experiments.runner.run import ensure, run
from spatial_transformer.experiments.training.progress import ProgressBar
from spatial_transformer.experiments.training.records import Record, load_records


def missing(plan: Sequence[RunConfig], out: Path) -> list[RunConfig]:
    """The runs of a plan that have no record in ``out`` (of the same network and recipe)."""
    return [config for config in plan if not config.is_recorded(out)]


def expected_seconds(config: RunConfig, records: Sequence[Record]) -> float | None:
    """How long a run will take, estimated from the most similar records; None without any.

    Those of its cell, else of its model, else of its data set, else all. Seconds are scaled by the
    number of steps.
    """
    label = config.model.label
    for nearest in (
        [r for r in records if (r.model, r.dataset) == (label, config.dataset)],
        [r for r in records if r.model == label],
        [r for r in records if r.dataset == config.dataset],
        records,
    ):
        if nearest:
            return config.recipe.iterations * mean(r.wall_seconds / r.iterations for r in nearest)
    return None


def reproduce(
    plan: Sequence[RunConfig],
    out: Path,
    *,
    data_root: Path | None = None,
    device: str = "cpu",
    jobs: int = 1,
    compiled: bool = False,
    console: Console | None = None,
    run_one: Callable[..., Record] = run,
) -> list[Record]:
    """Run the runs that are missing, ``jobs`` at a time, and report the progress of the table.

    It may be killed at any point: what is recorded is not run again, and the runs in progress
    resume from their checkpoints, to the same numbers: those of as many threads a run, which
    ``jobs`` runs share. The runs that those of the plan start from are made first. Other errors are
    those of ``run`` and ``run_at_once``.

    Raises:
        OptionError: If ``jobs`` is not positive, or a network of the plan cannot be built.
        DataError: If data are missing or broken.
    """
    if jobs < 1:
        raise OptionError(f"jobs must be a positive number of runs at a time, got {jobs}")
    console = console or Console(stderr=True)
    began = time.perf_counter()
    todo = missing(plan, out)
    console.print(f"{len(plan)} runs, {len(plan) - len(todo)} recorded", highlight=False)
    for config in todo:  # so that a table does not stop half-way
        try:
            with torch.random.fork_rng(devices=[]):
                build_model(config.model)
        except OptionError as error:
            raise OptionError(f"{config.name} cannot be built: {error}") from error
    needs = {config.start.name: config.start for config in todo if config.start}
    for config in [*needs.values(), *todo]:
        checkpoint = config.checkpoint(out)
        if checkpoint.is_file() and config.steps_done(out) is None:
            old = checkpoint.rename(checkpoint.with_name("checkpoint-old.pt"))
            console.print(
                f"{config.name}: another recipe's checkpoint is kept as {old}", markup=False
            )
    if jobs > 1 and todo:  # each of them would fetch what is not there yet
        make_dataset(todo[0].dataset).batches(1, 0, data_root=data_root)
    where: dict[str, Any] = {"data_root": data_root, "device": device, "compiled": compiled}
    for config in needs.values():
        bar = ProgressBar(config.name, config.recipe.iterations, console)
        ensure(config, out, callbacks=[bar], **where)
    if jobs > 1:
        ending = run_at_once(todo, out, jobs, run_one, **where)
    else:
        ending = _one_by_one(todo, len(plan), out, console, run_one, **where)
    done: list[Record] = []
    left = {config.name: config for config in todo}
    with closing(ending):
        for record in ending:
            done.append(record)
            left.pop(record.path.stem, None)
            console.print(
                f"{record.path.stem}: test error {record.test_error_percent:.2f} %, "
                f"{_words(record.wall_seconds)}. {len(plan) - len(left)} of {len(plan)} runs "
                f"recorded, {_words(time.perf_counter() - began)} gone"
                f"{_left(list(left.values()), out, jobs)}",
                highlight=False,
                markup=False,
            )
    return done


def _one_by_one(
    todo: Sequence[RunConfig],
    count: int,
    out: Path,
    console: Console,
    run_one: Callable[..., Record],
    **where: Any,
) -> Generator[Record]:
    for k, config in enumerate(todo, count - len(todo) + 1):
        bar = ProgressBar(f"[{k}/{count}] {config.name}", config.recipe.iterations, console)
        yield run_one(config, out, callbacks=[bar], **where)


def _left(todo: Sequence[RunConfig], out: Path, jobs: int) -> str:
    if not todo:
        return ""
    try:
        records = load_records(out, todo[0].experiment)
    except CheckpointError as error:  # another's record is no reason to stop here
        return f", time left unknown ({error})"
    expected = [expected_seconds(config, records) for config in todo]
    seconds = [s for s in expected if s is not None]
    left = max(sum(seconds) / jobs, max(seconds, default=0))
    return f", about {_words(left)} left"


def _words(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
