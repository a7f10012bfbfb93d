"""stn pretrained: a finished run as a folder of weights."""

from pathlib import Path
from typing import Annotated

import typer

from spatial_transformer.cli.console import say
from spatial_transformer.cli.options import DataRoot, Run


def pretrained(
    run: Run,
    out: Annotated[Path, typer.Option(help="The folder; its name becomes that of the weights.")],
    data_root: DataRoot = None,
) -> None:
    """Make a folder of weights (safetensors, configuration, model card) out of a finished run and
    its record, and measure it on the test images.

    The folder is what stn.load_pretrained takes, and can be uploaded to the Hugging Face hub.

    Example:

        stn pretrained runs/table1/rts--st_cnn_affine--seed0 --out st_cnn_affine_rts
    """
    from spatial_transformer.experiments.publish import publish

    published = publish(run, out, data_root=data_root)
    size = (out / "model.safetensors").stat().st_size
    say(
        f"wrote {out}: {published.config.label}, {published.dataset} test error "
        f"{published.test_error_percent:.2f} %, {size / 1e6:.2f} MB of weights",
    )
