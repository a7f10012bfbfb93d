"""The configuration of a run, and the paths of its files."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from spatial_transformer.experiments.data.catalogue import make_dataset
from spatial_transformer.experiments.models.build import ModelConfig
from spatial_transformer.experiments.training.checkpoint import load_checkpoint
from spatial_transformer.experiments.training.loop import describe_run
from spatial_transformer.experiments.training.recipe import Recipe
from spatial_transformer.experiments.training.records import Record, load_record
from spatial_transformer.options import check_count


@dataclass(frozen=True)
class RunConfig:
    """Everything that determines a run's result, except for the machine it runs on.

    ``start`` is the run whose network it starts from, such as one whose features it uses.

    Raises:
        OptionError: If the seed is invalid.
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
        """The run's name, of which its files' names are made."""
        return f"{self.dataset}--{self.model.label}--seed{self.seed}"

    def folder(self, out: Path) -> Path:
        """The folder of the run's checkpoint."""
        return out / self.experiment / self.name

    def checkpoint(self, out: Path) -> Path:
        """The checkpoint's path."""
        return self.folder(out) / "checkpoint.pt"

    def record(self, out: Path) -> Path:
        """The record's path."""
        return out / self.experiment / f"{self.name}.json"

    def identity(self) -> dict[str, Any]:
        """The description of the run in checkpoints and records, without the recipe."""
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
        """The run that a checkpoint belongs to.

        Raises:
            KeyError: If an entry is missing.
            TypeError: If an entry is unknown or of another type.
            OptionError: If an option has an invalid value.
        """
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
        """The step at which ``out`` has a checkpoint of this very run; None if it has none.

        Raises:
            CheckpointError: If the checkpoint is broken.
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
        return self.matches(load_record(path))

    def matches(self, record: Record) -> bool:
        """Whether a record is of this very run."""
        same = record.recipe == asdict(self.recipe)
        return same and record.config == self.identity()["config"]
