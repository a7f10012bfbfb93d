"""The cells of Table 5: one locator for each class, without and with clutter."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from spatial_transformer.errors import OptionError
from spatial_transformer.experiments.data.catalogue import make_dataset
from spatial_transformer.experiments.data.colocalisation import DISTRACTORS, Colocalisation
from spatial_transformer.experiments.models.build import build_model
from spatial_transformer.experiments.runner.experiment import Experiment
from spatial_transformer.experiments.runner.run import (
    RunConfig,
    ensure,
    load_trained,
    make_history,
    make_record,
    open_fabric,
)
from spatial_transformer.experiments.tables.colocalisation.locate import found, triplet
from spatial_transformer.experiments.tables.table1.config import TABLE1
from spatial_transformer.experiments.training.loop import fit
from spatial_transformer.experiments.training.progress import Measured, Watcher
from spatial_transformer.experiments.training.recipe import Recipe, seed_everything
from spatial_transformer.experiments.training.records import Record, commit

#: whose features the loss compares: the CNN of table 1 on P, which has seen digits of many shapes
ENCODER = TABLE1.cell("p", "cnn", recipe="quick")


def colocalise(
    config: RunConfig,
    out: Path,
    *,
    data_root: Path | None = None,
    device: str = "cpu",
    watchers: Sequence[Watcher] = (),
    checkpoint_every: int = 500,
    compiled: bool = False,
) -> Record:
    """Let a locator find the digits of one set, count those it found, and record.

    The run that it starts from, of the encoder, is made first if ``out`` has it not yet.
    Raises: as :func:`spatial_transformer.experiments.runner.run.run`; OptionError for another model or
    data set.
    """
    dataset = make_dataset(config.dataset)
    if config.model.model != "locator" or not isinstance(dataset, Colocalisation):
        raise OptionError(
            "co-localisation trains a locator on t0 to t9 or tc0 to tc9, not "
            f"{config.model.model!r} on {config.dataset!r}"
        )
    encoder = config.start
    if encoder is None:
        raise OptionError("co-localisation compares features: start= must be the run of a CNN")
    source, recipe = commit(), config.recipe
    config.folder(out).mkdir(parents=True, exist_ok=True)
    ensure(encoder, out, data_root=data_root, device=device, compiled=compiled)
    fabric = open_fabric(device, recipe.precision)
    classifier = load_trained(encoder.folder(out), fabric.device).model
    where: dict[str, Any] = {"data_root": data_root, "device": fabric.device}
    seed_everything(config.seed)
    locator = build_model(config.model)
    fitted = fit(
        fabric,
        locator,
        dataset.batches(recipe.batch_size, config.seed, **where),
        recipe,
        objective=triplet(classifier),
        checkpoint=config.checkpoint(out),
        checkpoint_every=checkpoint_every,
        identity=config.identity(),
        watchers=watchers,
        history=make_history(config, data_root, fabric.device),
        compiled=compiled,
    )
    images, truth = next(dataset.fixed("test", seed=config.seed, **where))
    missed = (~found(fitted.model.eval(), images, truth)).nonzero().flatten().tolist()
    measured = Measured(fitted.train_loss, missed, len(images))
    for watcher in watchers:
        watcher.evaluated(recipe.iterations, "test", measured)
    record = make_record(
        config,
        fabric.device,
        fitted,
        test=measured,
        validation=None,
        source=source,
        compiled=compiled,
    )
    record.save(out)
    return record


#: the paper's table 5, as digits that are not found, in percent
PAPER_FOUND = (81, 82, 88, 75, 94, 84, 93, 85, 89, 87)
PAPER_ERRORS = {("locator", f"t{k}"): 0.0 for k in range(10)} | {
    ("locator", f"tc{k}"): 100.0 - found for k, found in enumerate(PAPER_FOUND)
}

DEFAULT = Recipe(
    iterations=3_000,
    batch_size=32,
    lr=6e-3,
    weight_decay=0.0,
    average=0.0,
    clip=1.0,
    precision="bf16-mixed",
    channels_last=True,
)

COLOCALISATION = Experiment(
    name="colocalisation",
    title="Co-localisation, digits not found in %",
    models=[("locator", "attention")],
    datasets=[f"{kind}{k}" for kind in DISTRACTORS for k in range(10)],
    recipes={"default": DEFAULT, "long": replace(DEFAULT, iterations=6_000)},
    paper=PAPER_ERRORS,
    sampled={f"{kind}{k}": 28 for kind in DISTRACTORS for k in range(10)},
    run=colocalise,
    start=ENCODER,
)
