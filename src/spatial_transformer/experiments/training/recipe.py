"""Training options, as plain values that a record can store."""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR, StepLR

from spatial_transformer.coordinates import check_flag
from spatial_transformer.errors import OptionError
from spatial_transformer.modules.parameters import param_groups
from spatial_transformer.options import check_count, check_number

OPTIMISERS = ("adamw", "sgd")
SCHEDULES = ("one_cycle", "step")
#: Lightning Fabric's
PRECISIONS = (
    *("32-true", "16-mixed", "bf16-mixed", "16-true", "bf16-true", "64-true"),
    *("32", "16", "bf16", "64", "transformer-engine", "transformer-engine-float16"),
)

#: option -> where it lies. Optimisers multiply by factors, which shall still be float32's.
_INTERVALS = {
    "lr": "(0, 1e30]",
    "localisation_lr_scale": "[0, 1e30]",
    "weight_decay": "[0, 1e30]",
    "momentum": "[0, 1)",
    "warmup": "(0, 1)",
    "average": "[0, 1)",
    "clip": "[0, inf)",
    "label_smoothing": "[0, 1)",
}
_CHOICES = {"optimiser": OPTIMISERS, "schedule": SCHEDULES, "precision": PRECISIONS}


@dataclass(frozen=True)
class Recipe:
    """Training options.

    ``lr`` is the highest learning rate; localisation networks train at ``localisation_lr_scale``
    times it. ``one_cycle`` warms up and anneals by a cosine; ``step`` divides by ten at each third
    of the run, as the paper does (appendix A.3). ``average`` is the decay of the exponential moving
    average of the weights that is evaluated (0: the weights themselves). ``clip`` bounds the
    gradient's norm (0: no bound). ``precision`` is Lightning Fabric's. ``channels_last`` is the
    weights' memory format, faster for convolutions on a CPU. ``label_smoothing`` is the part of a
    classifier's target that is distributed over all classes (Szegedy et al. 2016); it is included
    in the training loss.

    Raises:
        OptionError: If an option has an invalid value; the message names it.
    """

    iterations: int = 1_000
    batch_size: int = 256
    optimiser: str = "adamw"
    lr: float = 3e-3
    localisation_lr_scale: float = 1.0
    weight_decay: float = 1e-2
    momentum: float = 0.0
    schedule: str = "one_cycle"
    warmup: float = 0.1
    average: float = 0.99
    clip: float = 0.0
    precision: str = "32-true"
    channels_last: bool = False
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        plain: dict[str, object] = {
            name: check_count(name, getattr(self, name)) for name in ("iterations", "batch_size")
        }
        for name, interval in _INTERVALS.items():
            plain[name] = check_number(name, getattr(self, name), interval)
        for name, number in plain.items():  # a file holds no NumPy scalars
            object.__setattr__(self, name, number)
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                raise OptionError(f"{name} must be one of {known}, got {getattr(self, name)!r}")
        check_flag("channels_last", self.channels_last)

    def build(self, model: nn.Module) -> tuple[Optimizer, LRScheduler]:
        """The optimiser and the schedule of its learning rate."""
        groups = param_groups(model, self.lr, self.localisation_lr_scale)
        groups = [g for g in groups if g["params"]]
        optimiser: Optimizer
        if self.optimiser == "adamw":
            optimiser = AdamW(groups, weight_decay=self.weight_decay)
        else:
            optimiser = SGD(groups, momentum=self.momentum, weight_decay=self.weight_decay)
        schedule: LRScheduler
        if self.schedule == "one_cycle":
            steps, warmup = self.iterations + 1, self.warmup
            if warmup * steps == 1:  # torch's would end where it starts, and divide by zero
                warmup *= 1 + 1e-9
            schedule = OneCycleLR(
                optimiser,
                max_lr=[g["lr"] for g in groups],
                total_steps=steps,
                pct_start=warmup,
                cycle_momentum=False,
            )
        else:
            schedule = StepLR(optimiser, step_size=max(1, -(-self.iterations // 3)), gamma=0.1)
        return optimiser, schedule


#: the paper's own training (appendix A.3)
PAPER = Recipe(
    iterations=150_000,
    optimiser="sgd",
    lr=0.01,
    weight_decay=0.0,
    schedule="step",
    average=0.0,
)


def complete(run: dict[str, Any]) -> dict[str, Any]:
    """A run's ``recipe`` and ``config`` from a file, completed with options newer than the file.

    These are options that had no effect, the first version of the data, one label an image, no run
    to start from.

    Raises:
        KeyError: If an entry is missing.
        TypeError: If an entry is unknown or of another type.
        OptionError: If the recipe is invalid.
    """
    completed = run | {"recipe": asdict(Recipe(**run["recipe"]))}
    if "config" in run:
        config = {"data_version": 1, "start": None} | run["config"]
        if "model" in config:
            config["model"] = {"length": 1} | config["model"]
        if config["start"] is not None:
            config["start"] = complete(config["start"])
        completed["config"] = config
    return completed


def seed_everything(seed: int) -> None:
    """Seed torch's global generators: the initial weights depend on nothing else."""
    torch.manual_seed(seed)
