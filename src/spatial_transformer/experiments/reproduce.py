"""Runs the cells of a table that have no record yet."""

import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from statistics import mean

from rich.console import Console

from spatial_transformer.experiments.run import RunConfig, run
from spatial_transformer.training.progress import ProgressBar
from spatial_transformer.training.records import Record, load_records


def missing(plan: Sequence[RunConfig], out: Path) -> list[RunConfig]:
    """The runs of a plan that have no record in ``out`` (of the same network and recipe)."""
    return [config for config in plan if not config.is_recorded(out)]


def expected_seconds(config: RunConfig, records: Sequence[Record]) -> float | None:
    """How long a run will take, from the records nearest to it: those of its cell, else of its
    model, else of its data set, else all; None without any.

    Seconds are scaled by the number of steps.
    """
    label = config.model.label
    for alike in (
        [r for r in records if (r.model, r.dataset) == (label, config.dataset)],
        [r for r in records if r.model == label],
        [r for r in records if r.dataset == config.dataset],
        records,
    ):
        if alike:
            return config.recipe.iterations * mean(r.wall_seconds / r.iterations for r in alike)
    return None


def reproduce(
    plan: Sequence[RunConfig],
    out: Path,
    *,
    data_root: Path | None = None,
    device: str = "cpu",
    console: Console | None = None,
    run_one: Callable[..., Record] = run,
) -> list[Record]:
    """Run what is missing, one run after the other, and tell how far the table is.

    It may be killed at any point: what is recorded is not run again, and the run that was under
    way goes on from its checkpoint, to the same numbers.
    Raises: as :func:`run`.
    """
    console = console or Console(stderr=True)
    began = time.perf_counter()
    todo = missing(plan, out)
    console.print(f"{len(plan)} runs, {len(plan) - len(todo)} recorded", highlight=False)
    done: list[Record] = []
    for k, config in enumerate(todo, len(plan) - len(todo) + 1):
        checkpoint = config.checkpoint(out)
        if checkpoint.is_file() and config.steps_done(out) is None:
            old = checkpoint.rename(checkpoint.with_name("checkpoint-old.pt"))
            console.print(
                f"{config.name}: another recipe's checkpoint is kept as {old}", markup=False
            )
        bar = ProgressBar(f"[{k}/{len(plan)}] {config.name}", config.recipe.iterations, console)
        record = run_one(config, out, data_root=data_root, device=device, watchers=[bar])
        done.append(record)
        console.print(
            f"{config.name}: test error {record.test_error_percent:.2f} %, "
            f"{_words(record.wall_seconds)}. {k} of {len(plan)} runs recorded, "
            f"{_words(time.perf_counter() - began)} gone{_left(todo[len(done) :], out)}",
            highlight=False,
            markup=False,
        )
    return done


def _left(todo: Sequence[RunConfig], out: Path) -> str:
    if not todo:
        return ""
    records = load_records(out, todo[0].experiment)
    seconds = [expected_seconds(config, records) for config in todo]
    return f", about {_words(sum(s for s in seconds if s is not None))} left"


def _words(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
