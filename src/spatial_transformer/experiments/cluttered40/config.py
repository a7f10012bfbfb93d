"""Its cells; the paper has none."""

from spatial_transformer.experiments.experiment import Experiment
from spatial_transformer.training.recipe import Recipe

#: what differs for networks with convolutions, as in table 1
CONVOLUTIONAL = {"iterations": 12_000, "batch_size": 64, "lr": 3e-3, "average": 0.998}
#: and for the localisation network, whose rectifiers die in the first steps at twice the rate
TRANSFORMER = CONVOLUTIONAL | {"localisation_lr_scale": 0.3}

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
    recipes={
        "default": Recipe(
            iterations=6_000,
            lr=4e-3,
            localisation_lr_scale=2.0,
            average=0.995,
            clip=1.0,
            precision="bf16-mixed",
            channels_last=True,
        )
    },
    sampled={"cluttered40": 28},
    changes={"cnn": CONVOLUTIONAL, "st_cnn": TRANSFORMER},
)
