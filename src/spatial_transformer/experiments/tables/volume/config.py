"""Its cells; the paper shows it without numbers."""

from spatial_transformer.experiments.runner.experiment import Experiment
from spatial_transformer.experiments.training.recipe import Recipe

VOLUME = Experiment(
    name="volume",
    title="Digits in a volume, test error in %",
    models=[("cnn", "affine"), ("st_cnn", "affine")],
    datasets=("volume30", "volume60"),
    claims=[("st_cnn_affine", "cnn")],
    recipes={
        "default": Recipe(
            iterations=3_000,
            batch_size=64,
            lr=2e-3,
            localisation_lr_scale=1.0,
            average=0.995,
            clip=1.0,
            precision="bf16-mixed",
        )
    },
    first=(("st_cnn_affine", "cnn"), ("volume30",)),
    sampled={"volume30": 28, "volume60": 28},
)
