"""Loading of trained networks, from runs or from folders of weights."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from spatial_transformer.errors import CheckpointError, SpatialTransformerError
from spatial_transformer.experiments.models.build import build_model
from spatial_transformer.experiments.runner.config import RunConfig
from spatial_transformer.experiments.training.checkpoint import load_checkpoint
from spatial_transformer.experiments.training.records import load_record
from spatial_transformer.finite import not_finite, summary
from spatial_transformer.pretrained import Pretrained, from_pretrained


@dataclass(frozen=True)
class LoadedRun:
    """A model from a checkpoint, in evaluation mode."""

    model: nn.Module
    config: RunConfig
    iteration: int
    #: None if the run recorded none
    history: dict[str, Tensor] | None


def load_run(path: Path, device: torch.device | str = "cpu") -> LoadedRun:
    """The model of a checkpoint (or of the run's folder), averaged if its recipe averages.

    Raises:
        CheckpointError: If the file is broken, or a tensor is NaN or infinite; the message names
            it.
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
    return LoadedRun(network.to(device).eval(), config, iteration, state.get("history"))


def is_run(name: str) -> bool:
    """Whether it is a run's folder or a checkpoint file."""
    return Path(name).is_file() or (Path(name) / "checkpoint.pt").is_file()


def find_runs(folder: str) -> list[Path]:
    """The runs' folders below a folder, such as a table's, that is not a run's itself."""
    if is_run(folder):
        return []
    return sorted(path.parent for path in Path(folder).rglob("checkpoint.pt"))


@dataclass(frozen=True)
class LoadedModel(Pretrained):
    """A trained network, from a run or from a folder of weights."""

    #: None where it comes from weights
    run: LoadedRun | None = None


def load_model(name: str | Path, device: torch.device | str = "cpu") -> LoadedModel:
    """A trained model by a run's folder, a checkpoint file or a name of ``from_pretrained``.

    A run's error is that of its record, if it is finished and has one. Other errors are those of
    ``from_pretrained``.

    Raises:
        CheckpointError: If files are broken or do not fit together.
    """
    if not is_run(str(name)):
        if Path(f"{name}.json").is_file():  # a repository may have records only
            raise CheckpointError(
                f"{name}: there is its record, but no checkpoint; stn train and stn reproduce make "
                "one, with --out another folder"
            )
        return LoadedModel(**vars(from_pretrained(name, device)))
    path = Path(name).absolute()
    trained = load_run(path, device)
    config, results = trained.config, (path if path.is_dir() else path.parent).parents[1]
    error = None
    if trained.iteration == config.recipe.iterations and config.is_recorded(results):
        error = load_record(config.record(results)).test_error_percent
    return LoadedModel(trained.model, config.model, config.dataset, config.name, error, trained)
