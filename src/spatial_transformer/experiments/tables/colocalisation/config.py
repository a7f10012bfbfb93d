"""The cells of Table 5: one locator for each class, without and with clutter."""

from dataclasses import replace

from spatial_transformer.experiments.data.colocalisation import DISTRACTORS
from spatial_transformer.experiments.runner.experiment import Experiment
from spatial_transformer.experiments.tables.table1.config import TABLE1
from spatial_transformer.experiments.training.recipe import Recipe

#: whose features the loss compares: the CNN of table 1 on P, which has seen digits of many shapes
ENCODER = TABLE1.cell("p", "cnn", recipe="quick")


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
    start=ENCODER,
)
