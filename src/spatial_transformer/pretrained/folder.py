"""A trained network as a folder of model.safetensors, config.json and README.md."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, overload

import torch
from torch import nn

from spatial_transformer.errors import (
    BackendError,
    CheckpointError,
    DataError,
    OptionError,
    SpatialTransformerError,
)
from spatial_transformer.extras import check_installed, require
from spatial_transformer.files import read_json, write_whole
from spatial_transformer.modules.classifier import Transformed
from spatial_transformer.names import ClassifierName, TransformedName
from spatial_transformer.pretrained.card import model_card
from spatial_transformer.pretrained.models import ModelConfig, build_model
from spatial_transformer.pretrained.weights import (
    FORMAT,
    check_format,
    check_weights,
    load_weights,
    save_weights,
)
from spatial_transformer.registry import unknown

#: before a repository's name on the Hugging Face hub, which is asked for nothing else
HUB = "hf:"

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"

#: the folders that the package ships
SHIPPED = Path(__file__).parent / "shipped"


@dataclass(frozen=True)
class Pretrained:
    """A trained network and what is known about it.

    ``model`` is in eval mode. ``test_error_percent`` was measured on the fixed test set of
    ``dataset`` when the folder was made; None where it was not.
    """

    model: nn.Module
    config: ModelConfig
    dataset: str
    name: str
    test_error_percent: float | None


def save_pretrained(
    model: nn.Module,
    folder: str | Path,
    *,
    config: ModelConfig,
    card: Mapping[str, Any] | None = None,
) -> None:
    """Write ``model.safetensors``, ``config.json`` and ``README.md`` (the model card).

    The folder can be uploaded to the Hugging Face hub as it is.

    Args:
        model: The network.
        folder: Where to write the files.
        config: What ``model`` was built from.
        card: Further entries of config.json and the card: ``dataset`` (its name), ``title``,
            ``labels`` (one a class), ``test_error_percent``, ``test_images``, ``commands``,
            ``record``; plain values.

    Raises:
        OptionError: If there are not as many labels as classes.
        DivergenceError: If weights are NaN or infinite.

    Examples:
        >>> import tempfile
        >>> config = ModelConfig("fcn", parameters=10_000)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_pretrained(build_model(config), folder, config=config, card={"dataset": "r"})
        ...     from_pretrained(folder).dataset
        'r'
    """
    folder = Path(folder)
    about = {"dataset": "", "test_error_percent": None, **(card or {})}
    about.setdefault("labels", [str(k) for k in range(config.classes)])
    if len(about["labels"]) != config.classes:
        raise OptionError(f"{len(about['labels'])} labels for {config.classes} classes")
    fields = {**asdict(config), "in_shape": list(config.in_shape)}
    text = json.dumps({"format": FORMAT, "model": fields, **about}, indent=2) + "\n"
    save_weights(model, folder / WEIGHTS)
    write_whole(folder / CONFIG, lambda p: p.write_text(text))
    page = model_card(folder.resolve().name, config, about)
    write_whole(folder / CARD, lambda p: p.write_text(page))


def list_pretrained() -> list[str]:
    """The names of the networks that the package ships."""
    return sorted(p.parent.name for p in SHIPPED.glob(f"*/{CONFIG}"))


def from_pretrained(name_or_folder: str | Path, device: torch.device | str = "cpu") -> Pretrained:
    """A trained network from a folder, by its name, or from the Hugging Face hub.

    Args:
        name_or_folder: A folder, a name of ``list_pretrained``, or ``hf:owner/name`` on the Hugging
            Face hub (which needs huggingface_hub), tried in this order.
        device: Where to put the network.

    Raises:
        CheckpointError: If files are broken or do not fit together.
        DataError: If there is no network of that name, or the hub cannot be reached.
        OptionError: If huggingface_hub is not installed.
        BackendError: If there is no such device.
    """
    check_installed("pretrained", "safetensors")
    name = str(name_or_folder)
    if name and Path(name).is_dir():
        weights, config, name = Path(name) / WEIGHTS, Path(name) / CONFIG, Path(name).resolve().name
    elif name in list_pretrained():
        weights, config = SHIPPED / name / WEIGHTS, SHIPPED / name / CONFIG
    elif isinstance(name_or_folder, str) and name.startswith(HUB):
        name = name.removeprefix(HUB)
        weights, config = (_download(name, file) for file in (WEIGHTS, CONFIG))
    else:
        names = unknown("name of trained weights", name, list_pretrained())
        raise DataError(
            f"{name}: no such folder; {names}; on the Hugging Face hub, {HUB}owner/name"
        )
    model_config, about = _read_config(config)
    try:
        with torch.device("meta"):
            outline = build_model(model_config)
    except (SpatialTransformerError, ValueError, LookupError, TypeError, RuntimeError) as error:
        raise CheckpointError(f"{config}: there is no such model: {error}") from error
    check_weights(outline, weights)  # before memory is allocated for a model larger than its file
    with torch.random.fork_rng(devices=[]):  # the initial weights, soon replaced, are random
        model = build_model(model_config)
    load_weights(model, weights)
    try:
        model = model.to(device)
    except (RuntimeError, AssertionError) as error:  # torch raises both
        raise BackendError(f"device {str(device)!r} is not available here: {error}") from error
    error_percent = about.get("test_error_percent")
    return Pretrained(model.eval(), model_config, about.get("dataset", ""), name, error_percent)


@overload
def load_pretrained(name: TransformedName, device: torch.device | str = "cpu") -> Transformed: ...
@overload
def load_pretrained(name: ClassifierName, device: torch.device | str = "cpu") -> nn.Sequential: ...
@overload
def load_pretrained(name: str | Path, device: torch.device | str = "cpu") -> nn.Module: ...
def load_pretrained(name: str | Path, device: torch.device | str = "cpu") -> nn.Module:
    """The network alone, in eval mode; arguments and errors as for ``from_pretrained``."""
    return from_pretrained(name, device).model


def _read_config(path: Path) -> tuple[ModelConfig, dict[str, Any]]:
    """The model's configuration, and the other entries of config.json.

    Raises:
        CheckpointError: If the file is broken or has no such model.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    try:
        values = read_json(path)
        check_format(values.pop("format", None), path)
        fields = values.pop("model")
        return ModelConfig(**{**fields, "in_shape": tuple(fields["in_shape"])}), values
    except OptionError as error:
        raise CheckpointError(f"{path}: there is no such model: {error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise CheckpointError(f"{path}: not the configuration of a model: {reason}") from error


def _download(repository: str, file: str) -> Path:
    """A file of the Hugging Face hub, from its local cache if it is there."""
    try:
        hub = require("huggingface_hub", "pretrained")
    except OptionError as error:
        raise OptionError(f"{repository}: no such folder; to look on a hub, {error}") from error
    try:
        return Path(hub.hf_hub_download(repository, file))
    except Exception as error:  # it raises many classes
        raise DataError(f"{repository}: no {file} from the Hugging Face hub: {error}") from error
