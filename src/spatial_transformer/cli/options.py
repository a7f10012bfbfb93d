"""The options that several subcommands share."""

from pathlib import Path
from typing import Annotated

import typer

Seed = Annotated[
    int,
    typer.Option(
        min=0, max=2**63 - 1, help="Seed of the weights, the batches and the distortions."
    ),
]
TestSeed = Annotated[
    int, typer.Option(min=0, max=2**63 - 1, help="Seed of the fixed test set: which images.")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
Compile = Annotated[
    bool,
    typer.Option(
        "--compile",
        help="Run the network through torch.compile, on a GPU as CUDA graphs. Numbers are rounded "
        "otherwise. Meant for GPUs.",
    ),
]
DataRoot = Annotated[
    Path | None,
    typer.Option(
        help="Folder with MNIST's four IDX files (.gz or not). What is not there is taken from the "
        "cache, or fetched.",
    ),
]
Out = Annotated[Path, typer.Option(help="Folder for checkpoints and records.")]
Run = Annotated[Path, typer.Argument(help="A run's folder, or its checkpoint file.")]
Model = Annotated[
    str,
    typer.Argument(
        help="A run's folder, its checkpoint file, a folder of weights, or a name of `stn list`."
    ),
]
