"""One run of an experiment: data, model, training, errors, record."""

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from spatial_transformer.errors import (
    BackendError,
    CheckpointError,
    OptionError,
    SpatialTransformerError,
)
from spatial_transformer.experiments.data.catalogue import make_dataset
from spatial_transformer.experiments.data.colocalisation import Colocalisation
from spatial_transformer.experiments.models.build import ModelConfig, build_model, count_parameters
from spatial_transformer.experiments.training.checkpoint import load_checkpoint
from spatial_transformer.experiments.training.history import History
from spatial_transformer.experiments.training.loop import Fitted, describe_run, evaluate, fit
from spatial_transformer.experiments.training.memory import keep_freed_memory
from spatial_transformer.experiments.training.precision import native_precision
from spatial_transformer.experiments.training.progress import Measured, Watcher
from spatial_transformer.experiments.training.recipe import Recipe, seed_everything
from spatial_transformer.experiments.training.records import Record, commit, hardware, load_record
from spatial_transformer.finite import not_finite, summary
from spatial_transformer.modules.monitor import CollapseMonitor
from spatial_transformer.modules.predict import find_transformer
from spatial_transformer.modules.spatial_transformer import SpatialTransformer
from spatial_transformer.options import check_count
from spatial_transformer.pretrained import Pretrained, from_pretrained


@dataclass(frozen=True)
class RunConfig:
    """All that decides a run's outcome, but for the machine it runs on.

    ``start`` is the run whose network it starts from, such as one whose features it uses.
    Raises: OptionError for a seed that is none.
    """

    experiment: str
    dataset: str
    model: ModelConfig
    seed: int = 0
    recipe: Recipe = field(default_factory=Recipe)
    start: "RunConfig | None" = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "seed", check_count("seed", self.seed, least=0, most=2**63 - 1))

    @property
    def name(self) -> str:
        return f"{self.dataset}--{self.model.label}--seed{self.seed}"

    def folder(self, out: Path) -> Path:
        """Where the run keeps its checkpoint."""
        return out / self.experiment / self.name

    def checkpoint(self, out: Path) -> Path:
        return self.folder(out) / "checkpoint.pt"

    def record(self, out: Path) -> Path:
        return out / self.experiment / f"{self.name}.json"

    def identity(self) -> dict[str, Any]:
        """What checkpoints and records say of the run they belong to, but for the recipe."""
        model = {**asdict(self.model), "in_shape": list(self.model.in_shape)}
        return {
            "config": {
                "experiment": self.experiment,
                "dataset": self.dataset,
                "data_version": make_dataset(self.dataset).version,
                "seed": self.seed,
                "model": model,
                "start": self.start and describe_run(self.start.recipe, self.start.identity()),
            }
        }

    @classmethod
    def from_description(cls, run: dict[str, Any]) -> "RunConfig":
        """The run that a checkpoint belongs to. Raises: KeyError, TypeError, OptionError."""
        stored = run["config"]
        model = {**stored["model"], "in_shape": tuple(stored["model"]["in_shape"])}
        return cls(
            stored["experiment"],
            stored["dataset"],
            ModelConfig(**model),
            stored["seed"],
            Recipe(**run["recipe"]),
            stored["start"] and cls.from_description(stored["start"]),
        )

    def steps_done(self, out: Path) -> int | None:
        """At which step ``out`` has a checkpoint of this very run; None if it has none of it.

        Raises: CheckpointError.
        """
        path = self.checkpoint(out)
        if not path.is_file():
            return None
        state = load_checkpoint(path)
        same = state["run"] == describe_run(self.recipe, self.identity())
        return int(state["iteration"]) if same else None

    def is_recorded(self, out: Path) -> bool:
        """Whether ``out`` has the record of this very run: same network, same recipe."""
        path = self.record(out)
        if not path.is_file():
            return False
        return self.made(load_record(path))

    def made(self, record: Record) -> bool:
        """Whether a record is of this very run."""
        same = record.recipe == asdict(self.recipe)
        return same and record.config == self.identity()["config"]


def open_fabric(device: str, precision: str = "32-true") -> Fabric:
    """Lightning Fabric on a device ("auto", "cpu", "cuda", "cuda:1", "mps"), in float32 where the
    precision is not its own (:func:`native_precision`); the process keeps the memory that it frees
    (:func:`keep_freed_memory`).

    Raises: BackendError if there is no such device.
    """
    keep_freed_memory()
    accelerator, _, index = device.partition(":")
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    try:
        devices = [int(index)] if index else 1
        fabric = Fabric(accelerator=accelerator, devices=devices)
        native: Any = native_precision(precision, fabric.device)
        return Fabric(accelerator=accelerator, devices=devices, precision=native)
    except Exception as error:  # Fabric raises many kinds for a device that is not there
        raise BackendError(f"device {device!r} is not available here: {error}") from error


def run(
    config: RunConfig,
    out: Path,
    *,
    data_root: Path | None = None,
    device: str = "cpu",
    watchers: Sequence[Watcher] = (),
    checkpoint_every: int = 500,
    compiled: bool = False,
) -> Record:
    """Train, measure and record; a run that was stopped goes on from its checkpoint.

    Writes ``out/<experiment>/<name>/checkpoint.pt`` and ``out/<experiment>/<name>.json``.
    Args:
        compiled: as :func:`fit` has it; the record's ``hardware`` says so.
    Raises: DataError, CheckpointError, OptionError, BackendError; DivergenceError where it comes to
        NaN or infinity; OSError where ``out`` cannot be written.
    """
    source = commit()
    config.folder(out).mkdir(parents=True, exist_ok=True)  # now, rather than after 500 steps
    recipe = config.recipe
    fabric = open_fabric(device, recipe.precision)
    dataset = make_dataset(config.dataset)
    if isinstance(dataset, Colocalisation):
        raise OptionError(
            f"{config.dataset!r} has no labels: the experiment colocalisation is what trains on it"
        )
    where: dict[str, Any] = {"data_root": data_root, "device": fabric.device}
    seed_everything(config.seed)
    model = build_model(config.model)
    check_classifier(model)
    batches = dataset.batches(recipe.batch_size, config.seed, **where)
    # rarely, for it waits for the device
    monitor = CollapseMonitor(model, every=50) if find_transformer(model) else nullcontext()
    with monitor:
        fitted = fit(
            fabric,
            model,
            batches,
            recipe,
            checkpoint=config.checkpoint(out),
            checkpoint_every=checkpoint_every,
            identity=config.identity(),
            watchers=watchers,
            history=make_history(config, data_root, fabric.device),
            compiled=compiled,
        )
    measured = {}
    for part in ("validation", "test"):
        measured[part] = evaluate(fitted.model, dataset.fixed(part, **where))
        for watcher in watchers:
            watcher.evaluated(recipe.iterations, part, measured[part])
    record = make_record(
        config,
        fabric.device,
        fitted,
        test=measured["test"],
        validation=measured["validation"],
        source=source,
        compiled=compiled,
    )
    record.save(out)
    return record


def ensure(config: RunConfig, out: Path, **options: Any) -> None:
    """Run it, unless ``out`` has its whole checkpoint and its record. Raises: as :func:`run`."""
    if config.steps_done(out) != config.recipe.iterations or not config.is_recorded(out):
        run(config, out, **options)


def check_classifier(model: nn.Module) -> None:
    """Raises: OptionError for a transformer on its own, which has no classes to tell."""
    if isinstance(model, SpatialTransformer):
        raise OptionError(
            f"a {type(model).__name__} is no classifier: the experiment colocalisation trains and "
            "measures it"
        )


def make_history(
    config: RunConfig, data_root: Path | None, device: torch.device | str = "cpu"
) -> History:
    """An empty history of a run, that watches its data set's probes."""
    images, _ = make_dataset(config.dataset).probes(seed=config.seed, data_root=data_root)
    return History(images.to(device), config.recipe.iterations)


def make_record(
    config: RunConfig,
    device: torch.device,
    fitted: Fitted,
    *,
    test: Measured,
    validation: Measured | None,
    source: str,
    compiled: bool,
) -> Record:
    """The record of a run that has been trained by the commit ``source``, and measured."""
    held = None if validation is None else round(validation.error_percent, 4)
    return Record(
        experiment=config.experiment,
        dataset=config.dataset,
        model=config.model.label,
        seed=config.seed,
        test_error_percent=round(test.error_percent, 4),
        validation_error_percent=held,
        test_loss=test.loss,
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
    )


@dataclass(frozen=True)
class Trained:
    """A model out of a checkpoint, ready to be looked at."""

    model: nn.Module
    config: RunConfig
    iteration: int
    #: None where the run kept none
    history: dict[str, Tensor] | None


def load_trained(path: Path, device: torch.device | str = "cpu") -> Trained:
    """The model of a checkpoint (or of the run's folder), averaged if its recipe averages.

    Raises: CheckpointError naming the file, and the tensor where one is NaN or infinite.
    """
    path = path / "checkpoint.pt" if path.is_dir() else path
    state = load_checkpoint(path, device)
    try:
        config = RunConfig.from_description(state["run"])
        network = build_model(config.model)
        weights: dict[str, Tensor] = state["model"]
        if state["averaged"] is not None:
            prefix = "module."
            averaged = state["averaged"].items()
            weights = {k.removeprefix(prefix): v for k, v in averaged if k.startswith(prefix)}
        network.load_state_dict(weights)
        iteration: int = state["iteration"]
    except (KeyError, TypeError, AttributeError, RuntimeError, SpatialTransformerError) as error:
        raise CheckpointError(f"{path}: not the checkpoint of a run: {error}") from error
    if names := not_finite(network.state_dict()):
        raise CheckpointError(f"{path}: not finite: {summary(names)}")
    return Trained(network.to(device).eval(), config, iteration, state.get("history"))


def is_run(name: str) -> bool:
    """Whether that is a run's folder or a checkpoint file."""
    return Path(name).is_file() or (Path(name) / "checkpoint.pt").is_file()


def find_runs(folder: str) -> list[Path]:
    """The folders of the runs below a folder that is no run's itself, such as a table's."""
    if is_run(folder):
        return []
    return sorted(path.parent for path in Path(folder).rglob("checkpoint.pt"))


@dataclass(frozen=True)
class Found(Pretrained):
    """A trained network, out of a run or of a folder of weights."""

    #: None where it comes from weights
    run: Trained | None = None


def find_model(name: str | Path, device: torch.device | str = "cpu") -> Found:
    """A trained model by a run's folder, a checkpoint file, or what :func:`from_pretrained` takes.
    A run's error is that of its record, if it is finished and has one.

    Raises: CheckpointError; as :func:`from_pretrained`.
    """
    if not is_run(str(name)):
        if Path(f"{name}.json").is_file():  # a repository keeps records alone
            raise CheckpointError(
                f"{name}: there is its record, but no checkpoint; stn train and stn reproduce make "
                "one, with --out another folder"
            )
        return Found(**vars(from_pretrained(name, device)))
    path = Path(name).absolute()
    trained = load_trained(path, device)
    config, results = trained.config, (path if path.is_dir() else path.parent).parents[1]
    error = None
    if trained.iteration == config.recipe.iterations and config.is_recorded(results):
        error = load_record(config.record(results)).test_error_percent
    return Found(trained.model, config.model, config.dataset, config.name, error, trained)
