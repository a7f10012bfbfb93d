"""A single run of an experiment: data, model, training, errors, record."""

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from spatial_transformer.experiments.data.catalogue import make_dataset
from spatial_transformer.experiments.data.dataset import FIXED_SEED
from spatial_transformer.experiments.models.build import build_model, count_parameters
from spatial_transformer.experiments.runner.config import RunConfig
from spatial_transformer.experiments.runner.load import load_run
from spatial_transformer.experiments.runner.tasks import task_of
from spatial_transformer.experiments.training.device import find_device
from spatial_transformer.experiments.training.history import History
from spatial_transformer.experiments.training.loop import FitResult, fit
from spatial_transformer.experiments.training.memory import keep_freed_memory
from spatial_transformer.experiments.training.precision import native_precision
from spatial_transformer.experiments.training.progress import Callback, EvalResult
from spatial_transformer.experiments.training.recipe import seed_everything
from spatial_transformer.experiments.training.records import Record, commit, hardware
from spatial_transformer.modules.monitor import CollapseMonitor
from spatial_transformer.modules.predict import find_transformer

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def open_fabric(device: str, precision: str = "32-true") -> "Fabric":
    """Lightning Fabric on a device, as ``find_device`` names it.

    It uses float32 where the device does not support the precision (``native_precision``); the
    process does not return freed memory to the system (``keep_freed_memory``).

    Raises:
        BackendError: If there is no such device.
    """
    place = find_device(device)
    from lightning_fabric import Fabric  # which takes seconds

    keep_freed_memory()
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    native: Any = native_precision(precision, place)
    devices = 1 if place.index is None else [place.index]
    return Fabric(accelerator=place.type, devices=devices, precision=native)


def run(
    config: RunConfig,
    out: Path,
    *,
    data_root: Path | None = None,
    device: str = "cpu",
    callbacks: Sequence[Callback] = (),
    checkpoint_every: int = 500,
    compiled: bool = False,
) -> Record:
    """Train, measure and record; a run that was stopped resumes from its checkpoint.

    Writes ``out/<experiment>/<name>/checkpoint.pt`` and ``out/<experiment>/<name>.json``.

    Args:
        config: The run.
        out: The folder of results.
        data_root: Where to find the data.
        device: The device, as for ``open_fabric``.
        callbacks: Called at every step.
        checkpoint_every: Steps between two checkpoints.
        compiled: As for ``fit``; noted in the record's ``hardware``.

    Raises:
        DataError: If data are missing or broken.
        CheckpointError: If a checkpoint is broken or another run's.
        OptionError: If the model cannot be trained on the data set.
        BackendError: If there is no such device.
        DivergenceError: If loss, gradients or weights become NaN or infinite.
        OSError: If ``out`` cannot be written.
    """
    source, recipe = commit(), config.recipe
    dataset = make_dataset(config.dataset)
    task = task_of(dataset)
    with torch.device("meta"):
        task.check(build_model(config.model), dataset, config.start is not None)
    config.folder(out).mkdir(parents=True, exist_ok=True)  # now, rather than after 500 steps
    start = None
    if config.start is not None:
        ensure(config.start, out, data_root=data_root, device=device, compiled=compiled)
    fabric = open_fabric(device, recipe.precision)
    if config.start is not None:
        start = load_run(config.start.folder(out), fabric.device).model
    where: dict[str, Any] = {"data_root": data_root, "device": fabric.device}
    seed_everything(config.seed)
    model = build_model(config.model)
    batches = dataset.batches(recipe.batch_size, config.seed, **where)
    # rarely, for it waits for the device
    monitor = CollapseMonitor(model, every=50) if find_transformer(model) else nullcontext()
    with monitor:
        fitted = fit(
            fabric,
            model,
            batches,
            recipe,
            objective=task.objective(start),
            checkpoint=config.checkpoint(out),
            checkpoint_every=checkpoint_every,
            identity=config.identity(),
            callbacks=callbacks,
            history=make_history(config, data_root, fabric.device),
            compiled=compiled,
        )
    results = {}
    for part in task.parts:
        seed = config.seed if task.measures_own_images else FIXED_SEED
        result = task.evaluate(fitted.model, dataset, part, seed=seed, **where)
        results[part] = result
        for callback in callbacks:
            callback.evaluated(recipe.iterations, part, result)
    record = make_record(
        config,
        fabric.device,
        fitted,
        test=results["test"],
        validation=results.get("validation"),
        source=source,
        compiled=compiled,
    )
    record.save(out)
    return record


def ensure(config: RunConfig, out: Path, **options: Any) -> None:
    """Run it, unless ``out`` has its finished checkpoint and its record; errors as for ``run``."""
    if config.steps_done(out) != config.recipe.iterations or not config.is_recorded(out):
        run(config, out, **options)


def make_history(
    config: RunConfig, data_root: Path | None, device: torch.device | str = "cpu"
) -> History:
    """An empty history of a run, for its data set's probes."""
    images, _ = make_dataset(config.dataset).probes(seed=config.seed, data_root=data_root)
    return History(images.to(device), config.recipe.iterations)


def make_record(
    config: RunConfig,
    device: torch.device,
    fitted: FitResult,
    *,
    test: EvalResult,
    validation: EvalResult | None,
    source: str,
    compiled: bool,
) -> Record:
    """The record of a run that has been trained at the commit ``source``, and measured."""
    held = None if validation is None else round(validation.error_percent, 4)
    return Record(
        experiment=config.experiment,
        dataset=config.dataset,
        model=config.model.label,
        seed=config.seed,
        test_error_percent=round(test.error_percent, 4),
        validation_error_percent=held,
        test_loss=fitted.train_loss if test.loss is None else test.loss,
        train_loss=fitted.train_loss,
        test_images=test.images,
        mistakes=test.mistakes,
        iterations=config.recipe.iterations,
        batch_size=config.recipe.batch_size,
        parameters=count_parameters(fitted.model),
        recipe=asdict(config.recipe),
        config=config.identity()["config"],
        wall_seconds=round(fitted.seconds, 1),
        hardware=hardware(device) + (", compiled" if compiled else ""),
        torch=torch.__version__,
        commit=source,
        precision=fitted.precision,
        length=test.length,
        test_sequence_error_percent=test.sequence_error_percent,
    )
