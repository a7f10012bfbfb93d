"""Its cells: one alignment, several in series, and several composed."""

from dataclasses import replace

from spatial_transformer.experiments.runner.experiment import Experiment
from spatial_transformer.experiments.training.recipe import Recipe

#: of the whole network, Lin & Lucey's with a homography
PARAMETERS = 39_048

#: ten minutes for four steps on one slow core, three for one
DEFAULT = Recipe(
    iterations=5_000,
    batch_size=64,
    lr=4e-3,
    localisation_lr_scale=0.2,
    warmup=0.2,
    average=0.998,
    clip=1.0,
)
#: their program's, as far as it is recalled; they do not divide the rate twice
PAPER = Recipe(
    iterations=200_000,
    batch_size=100,
    optimiser="sgd",
    lr=1e-2,
    localisation_lr_scale=1e-2,
    weight_decay=0.0,
    schedule="step",
    average=0.0,
)
RECIPES = {
    "default": DEFAULT,
    "paper": PAPER,
    # whether all of it runs, in a minute or two
    "smoke": replace(DEFAULT, iterations=10, average=0.9),
}

ICSTN = Experiment(
    name="icstn",
    title="MNIST with perturbed corners, test error in %",
    models=[
        ("small", "projective"),
        *((f"st_{kind}", "projective") for kind in ("small", "series2", "series4", "ic2", "ic4")),
    ],
    datasets=("perturbed",),
    recipes=RECIPES,
    # recalled, not verified
    paper={
        ("small", "perturbed"): 6.6,
        ("st_small_projective", "perturbed"): 4.9,
        ("st_series4_projective", "perturbed"): 1.5,
        ("st_ic4_projective", "perturbed"): 1.2,
    },
    claims=[
        ("st_small_projective", "small"),
        ("st_series4_projective", "st_small_projective"),
        ("st_ic4_projective", "st_small_projective"),
        ("st_ic2_projective", "st_series2_projective"),
        ("st_ic4_projective", "st_series4_projective"),
    ],
    first=(("st_ic4_projective", "st_small_projective"), ("perturbed",)),
    parameters=dict.fromkeys(RECIPES, PARAMETERS),
)
