"""The cells of Table 4."""

from dataclasses import replace

from spatial_transformer.experiments.runner.experiment import Experiment
from spatial_transformer.experiments.tables.table1.config import CONVOLUTIONAL, DEFAULT, SHORT
from spatial_transformer.experiments.training.recipe import PAPER

_TRANSFORMS = ("affine", "projective", "thin_plate_spline")

#: test error in percent, the paper's table 4
PAPER_ERRORS = {
    ("fcn", "addition"): 47.7,
    ("cnn", "addition"): 14.7,
    ("st_fcn_affine", "addition"): 22.6,
    ("st_fcn_projective", "addition"): 18.5,
    ("st_fcn_thin_plate_spline", "addition"): 19.1,
    ("st2_fcn_affine", "addition"): 9.0,
    ("st2_fcn_projective", "addition"): 5.9,
    ("st2_fcn_thin_plate_spline", "addition"): 5.8,
}

DEFAULT_ADDITION = replace(DEFAULT, iterations=15_000, localisation_lr_scale=0.3)

ADDITION = Experiment(
    name="addition",
    title="MNIST addition, test error in %",
    models=[
        *(("fcn", "affine"), ("cnn", "affine")),
        *(("st_fcn", t) for t in _TRANSFORMS),
        *(("st2_fcn", t) for t in _TRANSFORMS),
    ],
    datasets=("addition",),
    recipes={
        "default": DEFAULT_ADDITION,
        # two fifths of the paper's training
        "long": replace(DEFAULT_ADDITION, iterations=60_000, average=0.999),
        "paper": PAPER,
    },
    paper=PAPER_ERRORS,
    claims=[
        *((f"st_fcn_{t}", "fcn") for t in _TRANSFORMS),
        *((f"st2_fcn_{t}", f"st_fcn_{t}") for t in _TRANSFORMS),
    ],
    # the paper transforms 42x42 and then average-pools by 2
    sampled={"addition": 21},
    changes={
        "default": {"cnn": CONVOLUTIONAL | SHORT},
        "long": {"cnn": CONVOLUTIONAL},
    },
)
