"""Its cells; the paper has none."""

from dataclasses import replace

from spatial_transformer.experiments.runner.experiment import Experiment
from spatial_transformer.experiments.tables.table1.config import (
    CONVOLUTIONAL,
    LOCALISATION,
    RECIPES,
)

#: to both of table 1's recipes for networks with convolutions: there are fewer images to see
SHORTER = {"iterations": 12_000, "average": 0.998}

CLUTTERED40 = Experiment(
    name="cluttered40",
    title="Cluttered MNIST 40x40, test error in %",
    models=[("fcn", "affine"), ("cnn", "affine"), ("st_fcn", "affine"), ("st_cnn", "affine")],
    datasets=("cluttered40",),
    claims=[
        ("st_fcn_affine", "fcn"),
        ("st_cnn_affine", "cnn"),
        ("st_cnn_affine", "st_fcn_affine"),
    ],
    recipes={"default": replace(RECIPES["default"], iterations=6_000)},
    sampled={"cluttered40": 28},
    changes={
        "default": {
            "cnn": CONVOLUTIONAL | SHORTER,
            "st_fcn": LOCALISATION["st_fcn"],
            "st_cnn": CONVOLUTIONAL | SHORTER | LOCALISATION["st_cnn"],
        }
    },
)
