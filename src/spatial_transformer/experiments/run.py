"""One run of an experiment: data, model, training, errors, record."""

import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from spatial_transformer.data.mnist import load_mnist
from spatial_transformer.data.stream import Digits, Stream, fixed_set, make_distortion, split
from spatial_transformer.errors import BackendError, CheckpointError
from spatial_transformer.models.build import ModelConfig, build_model, count_parameters
from spatial_transformer.training.checkpoint import load_checkpoint
from spatial_transformer.training.loop import evaluate, fit
from spatial_transformer.training.progress import Watcher
from spatial_transformer.training.recipe import Recipe, seed_everything
from spatial_transformer.training.records import Record, commit, hardware

#: the seed of every fixed validation and test set, the same for all models and training seeds
FIXED_SEED = 0


@dataclass(frozen=True)
class RunConfig:
    """All that decides a run's outcome, but for the machine it runs on."""

    experiment: str
    dataset: str
    model: ModelConfig
    seed: int = 0
    recipe: Recipe = field(default_factory=Recipe)

    @property
    def name(self) -> str:
        return f"{self.dataset}--{self.model.label}--seed{self.seed}"

    def folder(self, out: Path) -> Path:
        """Where the run keeps its checkpoint."""
        return out / self.experiment / self.name


def open_fabric(device: str, precision: str = "32-true") -> Fabric:
    """Lightning Fabric on a device ("auto", "cpu", "cuda", "cuda:1", "mps").

    Raises: BackendError if there is no such device.
    """
    accelerator, _, index = device.partition(":")
    try:
        devices = [int(index)] if index else 1
        return Fabric(accelerator=accelerator, devices=devices, precision=precision)  # type: ignore[arg-type]
    except Exception as error:  # Fabric raises many kinds for a device that is not there
        raise BackendError(f"device {device!r} is not available here: {error}") from error


def load_digits(part: str, data_root: Path | None, device: torch.device | str = "cpu") -> Digits:
    """MNIST's "train" or "test" digits. Raises: DataError."""
    return Digits(*load_mnist(part, data_root)).to(device)


def run(
    config: RunConfig,
    out: Path,
    *,
    data_root: Path | None = None,
    device: str = "cpu",
    watchers: list[Watcher] | None = None,
) -> Record:
    """Train, measure and record; a run that was stopped goes on from its checkpoint.

    Writes ``out/<experiment>/<name>/checkpoint.pt`` and ``out/<experiment>/<name>.json``.
    Raises: DataError, CheckpointError, OptionError, BackendError.
    """
    began = time.perf_counter()
    fabric = open_fabric(device, config.recipe.precision)
    digits, held = split(load_digits("train", data_root, fabric.device))
    distortion = make_distortion(config.dataset)
    seed_everything(config.seed)
    model = build_model(config.model)
    fitted = fit(
        fabric,
        model,
        Stream(digits, distortion, config.recipe.batch_size, config.seed).batch,
        config.recipe,
        checkpoint=config.folder(out) / "checkpoint.pt",
        identity=_identity(config),
        watchers=watchers or [],
    )
    errors = {}
    for part, source in (
        ("validation", held),
        ("test", load_digits("test", data_root, fabric.device)),
    ):
        loss, error = evaluate(fitted.model, *fixed_set(source, distortion, FIXED_SEED))
        errors[part] = (loss, error)
        for watcher in watchers or []:
            watcher.evaluated(config.recipe.iterations, part, loss, error)
    record = Record(
        experiment=config.experiment,
        dataset=config.dataset,
        model=config.model.label,
        seed=config.seed,
        test_error_percent=round(errors["test"][1], 4),
        validation_error_percent=round(errors["validation"][1], 4),
        test_loss=errors["test"][0],
        train_loss=fitted.train_loss,
        test_images=10_000,
        iterations=config.recipe.iterations,
        batch_size=config.recipe.batch_size,
        parameters=count_parameters(model),
        recipe=asdict(config.recipe),
        config=_identity(config)["config"],
        wall_seconds=round(time.perf_counter() - began, 1),
        hardware=hardware(fabric.device),
        torch=torch.__version__,
        commit=commit(),
    )
    record.save(out)
    return record


def _identity(config: RunConfig) -> dict[str, Any]:
    """What a checkpoint says of the run it belongs to (the recipe is added by ``fit``)."""
    model = {**asdict(config.model), "in_shape": list(config.model.in_shape)}
    return {
        "config": {
            "experiment": config.experiment,
            "dataset": config.dataset,
            "seed": config.seed,
            "model": model,
        }
    }


@dataclass(frozen=True)
class Trained:
    """A model out of a checkpoint, ready to be looked at."""

    model: nn.Module
    config: RunConfig
    iteration: int


def load_trained(path: Path, device: torch.device | str = "cpu") -> Trained:
    """The model of a checkpoint (or of the run's folder), averaged if its recipe averages.

    Raises: CheckpointError.
    """
    path = path / "checkpoint.pt" if path.is_dir() else path
    state = load_checkpoint(path, device)
    try:
        stored = state["run"]["config"]
        model = dict(stored["model"])
        config = RunConfig(
            stored["experiment"],
            stored["dataset"],
            ModelConfig(**{**model, "in_shape": tuple(model["in_shape"])}),
            stored["seed"],
            Recipe(**state["run"]["recipe"]),
        )
        network = build_model(config.model)
        weights: dict[str, Tensor] = state["model"]
        if state["averaged"] is not None:
            prefix = "module."
            averaged = state["averaged"].items()
            weights = {k.removeprefix(prefix): v for k, v in averaged if k.startswith(prefix)}
        network.load_state_dict(weights)
    except (KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError(f"{path}: not the checkpoint of a run: {error}") from error
    return Trained(network.to(device).eval(), config, state["iteration"])
