"""Records, one JSON file a run, from which every table and figure is made."""

import json
import math
import os
import platform
import re
import subprocess
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from spatial_transformer.errors import CheckpointError, DivergenceError, OptionError
from spatial_transformer.experiments.training.recipe import complete
from spatial_transformer.files import read_json, write_whole


@dataclass(frozen=True)
class Record:
    """A run's options and results.

    ``test_error_percent`` is on the fixed test set, after the last step (in co-localisation, which
    has no test set, the digits that are not found; ``test_loss`` is the training's there);
    ``train_loss`` is the smoothed training loss; ``recipe`` holds every training option; ``commit``
    is the source's git commit when the run was started or last resumed (with ``+`` if it was
    changed since). ``mistakes`` are the indices of the test images that it gets wrong; where an
    image has a sequence of ``length`` labels, errors and mistakes are of labels (see
    ``EvalResult``), and ``test_sequence_error_percent`` of images with a mistake.
    ``precision`` is what it was trained in, which is the recipe's where the processor supports
    that. Mistakes and precision are None in records of older versions.

    Raises:
        DivergenceError: If a loss or an error is NaN or infinite.
    """

    experiment: str
    dataset: str
    model: str
    seed: int
    test_error_percent: float
    validation_error_percent: float | None
    test_loss: float
    train_loss: float
    test_images: int
    iterations: int
    batch_size: int
    parameters: int
    recipe: dict[str, Any]
    config: dict[str, Any]
    wall_seconds: float
    hardware: str
    torch: str
    commit: str
    finished: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    mistakes: list[int] | None = None
    precision: str | None = None
    length: int = 1
    test_sequence_error_percent: float | None = None

    def __post_init__(self) -> None:
        for name in (f.name for f in fields(self) if f.type in (float, float | None)):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise DivergenceError(f"a record of {self.path.stem} cannot be: {name} is {value}")

    @property
    def path(self) -> Path:
        """The record's path below the results folder."""
        return Path(self.experiment) / f"{self.dataset}--{self.model}--seed{self.seed}.json"

    def save(self, results: Path) -> Path:
        """Write it below ``results``, atomically.

        An existing record of another network, recipe or data is renamed to ``....json.old``.
        """
        path = results / self.path
        if path.is_file() and not self._same_run(path):
            path.replace(path.with_name(f"{path.name}.old"))
        text = _LISTS.sub(lambda m: " ".join(m[0].split()), json.dumps(asdict(self), indent=2))
        write_whole(path, lambda p: p.write_text(f"{text}\n"))
        return path

    def _same_run(self, path: Path) -> bool:
        try:
            there = load_record(path)
        except CheckpointError:
            return False
        return (there.recipe, there.config) == (self.recipe, self.config)


#: lists of numbers, written on one line each
_LISTS = re.compile(r"\[[\d\s,]+\]")
#: a field's type -> the JSON types for it
_JSON: dict[Any, Any] = {
    str: str,
    int: int,
    float: int | float,
    float | None: int | float | None,
    str | None: str | None,
    dict[str, Any]: dict,
    list[int] | None: list | None,
}

#: fields that older records have not
_NEWER = {"mistakes": None, "precision": None, "length": 1, "test_sequence_error_percent": None}


def load_record(path: Path) -> Record:
    """Read a record.

    Raises:
        CheckpointError: If the file is broken; the message names it.
    """
    try:
        values = read_json(path)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: not a record: {error}") from error
    names = {f.name for f in fields(Record)}
    if isinstance(values, dict):
        values = _NEWER | values
    if not isinstance(values, dict) or set(values) != names:
        present = set(values) if isinstance(values, dict) else set()
        raise CheckpointError(
            f"{path}: not a record of this version: missing {sorted(names - present)}, "
            f"unknown {sorted(present - names)}"
        )
    for known in fields(Record):
        value = values[known.name]
        if not isinstance(value, _JSON[known.type]) or isinstance(value, bool):
            raise CheckpointError(f"{path}: not a record: {known.name} is {value!r}")
    try:
        return Record(**complete(values))
    except (TypeError, OptionError, DivergenceError) as error:
        raise CheckpointError(f"{path}: not a record: {error}") from error


def load_records(results: Path, experiment: str | None = None) -> list[Record]:
    """All records below a folder, in the order of their paths.

    Raises:
        CheckpointError: If a file is broken; the message names it.
    """
    folder = results / experiment if experiment else results
    paths = sorted(folder.rglob("*--*--seed*.json"))
    return [load_record(p) for p in paths if not p.name.startswith(".")]  # one is being written


def hardware(device: torch.device) -> str:
    """The processor or GPU in words, with the number of threads used."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    name = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                name = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass
    return f"{name}, {torch.get_num_threads()} threads of {os.cpu_count()}"


def commit() -> str:
    """The commit of this source tree, with ``+`` if the package was changed since.

    "unknown" where the package is not part of a git repository.
    """
    package = Path(__file__).parents[2]

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", *words], cwd=package, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", __file__)  # not installed into another's repository
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--", ".") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
