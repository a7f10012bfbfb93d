"""Its cells, with the published errors."""

from dataclasses import replace

from spatial_transformer.experiments.runner.experiment import Experiment
from spatial_transformer.experiments.training.recipe import Recipe

#: of digits, in percent: the table of arXiv 1509.05329
PUBLISHED = {
    ("cnn_sequence", "sequence100"): 2.9,
    ("st_sequence_affine", "sequence100"): 2.0,
    ("st_rnn_sequence_affine", "sequence100"): 1.5,
}

DEFAULT = Recipe(
    iterations=14_000,
    batch_size=64,
    lr=2e-3,
    localisation_lr_scale=0.5,
    average=0.998,
    clip=5.0,
    channels_last=True,
    label_smoothing=0.1,
)
#: so that every cell takes about as long as the recurrent one, as far as time goes
AS_LONG = {
    "cnn_sequence": {"iterations": 9_000},
    "st_sequence": {"iterations": 6_000, "channels_last": False},
}

RECURRENT = Experiment(
    name="recurrent",
    title="Sequences of three digits, digits misread in %",
    models=[
        ("cnn_sequence", "affine"),
        ("st_sequence", "affine"),
        ("st_rnn_sequence", "affine"),
    ],
    datasets=("sequence100",),
    recipes={
        "default": DEFAULT,
        # what the published code does, with Adam for RMSprop, and another schedule
        "paper": Recipe(
            iterations=180_000,
            batch_size=100,
            lr=1e-3,
            weight_decay=0.0,
            schedule="step",
            average=0.0,
            clip=5.0,
        ),
        "smoke": replace(DEFAULT, iterations=20, batch_size=16, average=0.9),
    },
    paper=PUBLISHED,
    claims=[
        ("st_sequence_affine", "cnn_sequence"),
        ("st_rnn_sequence_affine", "cnn_sequence"),
        ("st_rnn_sequence_affine", "st_sequence_affine"),
    ],
    sampled={"st_sequence": 50, "st_rnn_sequence": 33},
    changes={"default": AS_LONG},
)
