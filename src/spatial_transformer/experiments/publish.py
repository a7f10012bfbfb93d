"""Conversion of a run's checkpoint and record to a folder of weights."""

from dataclasses import asdict, replace
from pathlib import Path

from spatial_transformer.errors import CheckpointError, OptionError, UnknownNameError
from spatial_transformer.experiments.data.catalogue import make_dataset
from spatial_transformer.experiments.data.dataset import FIXED_SEED
from spatial_transformer.experiments.runner.config import RunConfig
from spatial_transformer.experiments.runner.load import load_run
from spatial_transformer.experiments.runner.tasks import task_of
from spatial_transformer.experiments.tables.catalogue import find_experiment
from spatial_transformer.experiments.training.records import load_record
from spatial_transformer.pretrained import Pretrained, from_pretrained, save_pretrained


def publish(run: Path, out: Path, *, data_root: Path | None = None) -> Pretrained:
    """Make a folder of weights from a finished run.

    The error in the folder is measured here, on the whole fixed test set on the CPU: the record's
    may come from another device's arithmetic.

    Args:
        run: The run's folder or checkpoint; its record is next to the folder.
        out: The folder to write.
        data_root: Where to find MNIST.

    Raises:
        CheckpointError: If the record is missing, or is not that of the checkpoint.
        OptionError: If the model is not a classifier.
        DataError: If data are missing or broken.
    """
    trained = load_run(run)
    config = trained.config
    if config.model.model == "locator":
        raise OptionError(f"{config.name}: only classifiers are published, not a locator")
    folder = run if run.is_dir() else run.parent
    path = folder.parent / f"{config.name}.json"
    record = load_record(path)
    if not config.matches(record) or record.iterations != trained.iteration:
        raise CheckpointError(
            f"{path}: not the record of this checkpoint (another recipe or model, or the run has "
            f"not ended: {trained.iteration} of {record.iterations} steps)"
        )
    dataset = make_dataset(config.dataset)
    measured = task_of(dataset).evaluate(
        trained.model, dataset, "test", seed=FIXED_SEED, data_root=data_root
    )
    about = {
        "dataset": dataset.name,
        "title": dataset.title,
        "test_error_percent": round(measured.error_percent, 4),
        "test_images": measured.images,
        "labels": list(dataset.labels),
        "commands": {"train": train_command(config)},
        "record": asdict(replace(record, mistakes=None)),  # a card says how many
    }
    save_pretrained(trained.model, out, config=config.model, card=about)
    return from_pretrained(out)


def train_command(config: RunConfig) -> str | None:
    """The command that trains a run; None where its options cannot be given on the command line."""
    experiment, _, recipe = config.experiment.partition("-")
    try:
        cell = find_experiment(experiment).cell(
            config.dataset,
            config.model.model,
            config.model.transform,
            recipe=recipe or None,
            seed=config.seed,
        )
    except UnknownNameError:
        return None
    words = [f"stn train --experiment {experiment} --data {config.dataset}"]
    words.append(f"--model {config.model.model}")
    if config.model.has_transformer:
        words.append(f"--transform {config.model.transform}")
    if recipe:
        words.append(f"--recipe {recipe}")
    words.append(f"--seed {config.seed}")
    for option in ("iterations", "batch_size"):
        value = getattr(config.recipe, option)
        if value != getattr(cell.recipe, option):
            words.append(f"--{option.replace('_', '-')} {value}")
            cell = replace(cell, recipe=replace(cell.recipe, **{option: value}))
    if config.model.parameters != cell.model.parameters:
        words.append(f"--parameters {config.model.parameters}")
        cell = replace(cell, model=replace(cell.model, parameters=config.model.parameters))
    return " ".join(words) if cell == config else None
