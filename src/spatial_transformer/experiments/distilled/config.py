"""Its cells: the ST-CNN of table 1 once more, each taught by those that table 1's default recipe
has trained on the same data set."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from spatial_transformer.experiments.distilled.teach import distillation
from spatial_transformer.experiments.experiment import Experiment
from spatial_transformer.experiments.run import RunConfig, ensure, load_trained, open_fabric, run
from spatial_transformer.experiments.table1.config import (
    CONVOLUTIONAL,
    DEFAULT,
    LOCALISATION,
    PAPER_ERRORS,
    SAMPLED_SIZE,
    TABLE1,
)
from spatial_transformer.training.records import Record

#: how much the teachers count against the labels
WEIGHT = 0.7

TRANSFORMS = ("affine", "projective", "thin_plate_spline")


def teachers_of(config: RunConfig) -> list[RunConfig]:
    """The runs whose networks teach that of ``config``: table 1's three ST-CNN of its data set."""
    return [TABLE1.cell(config.dataset, "st_cnn", transform) for transform in TRANSFORMS]


def distil(
    config: RunConfig,
    out: Path,
    *,
    data_root: Path | None = None,
    device: str = "cpu",
    teachers: Callable[[RunConfig], Sequence[RunConfig]] = teachers_of,
    **options: Any,
) -> Record:
    """Train a network by its teachers, measure and record it.

    ``teachers`` are trained first, with records of their own, if ``out`` has them not yet.
    Raises: as :func:`spatial_transformer.experiments.run.run`.
    """
    fabric = open_fabric(device, config.recipe.precision)
    networks = []
    for teacher in teachers(config):
        ensure(teacher, out, data_root=data_root, device=device)
        network = load_trained(teacher.folder(out), fabric.device).model
        if config.recipe.channels_last:
            network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        networks.append(fabric.setup_module(network))  # which casts as the recipe's precision says
    objective = distillation(networks, WEIGHT)
    return run(config, out, data_root=data_root, device=device, objective=objective, **options)


DISTILLED = Experiment(
    name="distilled",
    title="Distorted MNIST, taught by three ST-CNN, test error in %",
    models=[("st_cnn", transform) for transform in TRANSFORMS],
    datasets=("r", "rts", "p", "e"),
    recipes={"default": DEFAULT},
    paper={(m, d): e for (m, d), e in PAPER_ERRORS.items() if m.startswith("st_cnn") and d != "tc"},
    sampled=SAMPLED_SIZE,
    changes={"default": {"st_cnn": CONVOLUTIONAL | LOCALISATION["st_cnn"]}},
    run=distil,
    needs=teachers_of,
)
