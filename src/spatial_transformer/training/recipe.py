"""How a model is trained, as plain values that a record can hold."""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR, StepLR

from spatial_transformer.errors import OptionError
from spatial_transformer.modules.parameters import param_groups

OPTIMISERS = ("adamw", "sgd")
SCHEDULES = ("one_cycle", "step")


@dataclass(frozen=True)
class Recipe:
    """Training options.

    ``lr`` is the highest learning rate; localisation networks train at ``localisation_lr_scale``
    times it. ``one_cycle`` warms up and anneals by a cosine; ``step`` divides by ten at each third
    of the run, as the paper does (appendix A.3). ``average`` is the decay of the exponential
    moving average of the weights that is evaluated (0: the weights themselves). ``clip`` bounds the
    gradient's norm (0: no bound). ``precision`` is Lightning Fabric's.
    ``channels_last`` lays the weights out so; on a CPU it is the faster way to convolve.
    ``label_smoothing`` is the part of a classifier's target that is shared among all classes
    (Szegedy et al. 2016); the training loss is with it.
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
        if self.iterations < 1 or self.batch_size < 1:
            raise OptionError("iterations and batch_size must be positive")
        if self.optimiser not in OPTIMISERS:
            raise OptionError(f"optimiser must be one of {OPTIMISERS}, got {self.optimiser!r}")
        if self.schedule not in SCHEDULES:
            raise OptionError(f"schedule must be one of {SCHEDULES}, got {self.schedule!r}")
        if not 0 <= self.average < 1:
            raise OptionError(f"average must be in [0, 1), got {self.average!r}")
        if not 0 <= self.label_smoothing < 1:
            raise OptionError(f"label_smoothing must be in [0, 1), got {self.label_smoothing!r}")

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
            schedule = OneCycleLR(
                optimiser,
                max_lr=[g["lr"] for g in groups],
                total_steps=self.iterations + 1,
                pct_start=self.warmup,
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
    """A run's ``recipe`` and ``config`` out of a file, with what is newer than the file: options
    that did nothing, the first version of the data, no run to start from."""
    whole = run | {"recipe": asdict(Recipe()) | run["recipe"]}
    if "config" in run:
        whole["config"] = {"data_version": 1, "start": None} | run["config"]
    return whole


def seed_everything(seed: int) -> None:
    """Seed torch's global generators: the initial weights depend on nothing else."""
    torch.manual_seed(seed)
