"""Its cells, and what is published on them."""

from dataclasses import replace

from spatial_transformer.experiments.runner.experiment import Experiment
from spatial_transformer.experiments.training.recipe import PAPER, Recipe

#: test error in percent: one network, one and two transformers of gtsrb.torch, and three of
#: Arcos-Garcia et al. (2018), all on 48x48
PUBLISHED = {
    ("idsia", "gtsrb"): 1.15,
    ("st_idsia_affine", "gtsrb"): 0.54,
    ("st2_idsia_affine", "gtsrb"): 0.33,
    ("st3_idsia_affine", "gtsrb"): 0.29,
}

#: 15 times through the images
DEFAULT = Recipe(
    iterations=8_250,
    batch_size=64,
    lr=3e-3,
    localisation_lr_scale=0.3,
    average=0.998,
    clip=1.0,
    precision="bf16-mixed",
    channels_last=True,
    label_smoothing=0.1,
)

#: plain gradient descent as in gtsrb.torch, and as many times through the images: 26
PAPER_LIKE = replace(PAPER, iterations=18_300, batch_size=50)

GTSRB = Experiment(
    name="gtsrb",
    title="German traffic signs, test error in %",
    models=[(model, "affine") for model in ("idsia", "st_idsia", "st2_idsia", "st3_idsia")],
    datasets=("gtsrb",),
    recipes={
        "default": DEFAULT,
        "paper": PAPER_LIKE,
        # whether everything works: under two minutes on two cores, most of them for the files
        "smoke": replace(DEFAULT, iterations=100, average=0.9, precision="32-true"),
    },
    paper=PUBLISHED,
    claims=[
        ("st_idsia_affine", "idsia"),
        ("st2_idsia_affine", "idsia"),
        ("st3_idsia_affine", "idsia"),
        ("st2_idsia_affine", "st_idsia_affine"),
    ],
    first=(("st2_idsia_affine", "idsia"), ("gtsrb",)),
    padding="border",
    # of the classifier: half of IDSIA's filters, all of them, a tenth
    parameters={"default": 363_000, "paper": 1_544_000, "smoke": 20_000},
)
