"""Several runs in parallel, each in a process of its own."""

import multiprocessing
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Generator, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from spatial_transformer.errors import SpatialTransformerError
from spatial_transformer.experiments.runner.config import RunConfig
from spatial_transformer.experiments.training.progress import ProgressBar
from spatial_transformer.experiments.training.records import Record

#: seconds that a run has to stop before it is killed
PATIENCE = 10


def run_at_once(
    plan: Sequence[RunConfig],
    out: Path,
    jobs: int,
    run_one: Callable[..., Record],
    **options: Any,
) -> Generator[Record]:
    """Run a plan, ``jobs`` runs at a time, and yield their records as they end.

    A CPU's threads are distributed among them; on a GPU they share the device. Progress is printed
    to stderr. When a run fails, or this process dies, the others stop: they can resume from their
    checkpoints. Errors of a run are raised here.

    Args:
        plan: The runs.
        out: The folder of results.
        jobs: How many at a time.
        run_one: Runs one; importable, and starts no processes of its own.
        **options: Passed to ``run_one``.

    Raises:
        SpatialTransformerError: If a run's process dies.
    """
    context = multiprocessing.get_context("spawn")  # a forked process cannot use CUDA, nor threads
    # the same number for every run of a table: sums depend on it
    threads = max(1, torch.get_num_threads() // jobs)
    waiting = list(reversed(plan))
    running: dict[Connection, tuple[RunConfig, Any]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                config = waiting.pop()
                receive, send = context.Pipe(duplex=False)
                arguments = (send, threads, run_one, config, out, options)
                process = context.Process(target=_work, args=arguments, daemon=True)
                process.start()
                send.close()
                running[receive] = config, process
            ended = wait(list(running))
            for receive in [r for r in running if r in ended]:
                config, process = running.pop(receive)
                yield _result(receive, config, process)
    finally:
        for _, process in running.values():
            process.terminate()
        for _, process in running.values():
            process.join(PATIENCE)
            process.kill()
            process.join()


def _result(receive: Connection, config: RunConfig, process: Any) -> Record:
    """The record of a run that has ended; its error is raised, as is the death of its process."""
    try:
        result = receive.recv()
    except EOFError:
        process.join()
        why = "; too little memory?" if process.exitcode < 0 else ""  # by a signal
        raise SpatialTransformerError(
            f"{config.name}: its process died (exit code {process.exitcode}{why}). "
            "Given the same command again it goes on from its last checkpoint"
        ) from None
    process.join()
    if isinstance(result, Exception):
        raise result
    record: Record = result
    return record


def _work(
    send: Connection,
    threads: int,
    run_one: Callable[..., Record],
    config: RunConfig,
    out: Path,
    options: dict[str, Any],
) -> None:
    """Run, in a process of its own, and send the record or the error."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all: the parent ends the others
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # cleans up, unlike a kill
    threading.Thread(target=_die_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    console = Console(file=sys.stderr, force_terminal=False, width=200)
    bar = ProgressBar(config.name, config.recipe.iterations, console)
    try:
        send.send(run_one(config, out, callbacks=[bar], **options))
    except Exception as error:
        send.send(_sendable(error, config))


def _sendable(error: Exception, config: RunConfig) -> Exception:
    """The error itself, or its text and traceback if it cannot be pickled or is not one of ours."""
    if isinstance(error, (SpatialTransformerError, OSError)):
        try:
            pickle.loads(pickle.dumps(error))
            return error
        except Exception:
            pass
    return SpatialTransformerError(
        f"{config.name}: {type(error).__name__}: {error}\n{traceback.format_exc()}"
    )


def _die_with_parent() -> None:
    """End this process with its parent, however that dies.

    Nobody would wait for the run, and the same command given again would run it a second time.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
