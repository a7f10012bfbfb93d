"""stn export: a trained network or a bare warp as ONNX or torch.export."""

from pathlib import Path
from typing import Annotated

import typer

from spatial_transformer.cli.console import say
from spatial_transformer.cli.options import DataRoot

#: options that a network's own transformer decides
OF_WARPS = ("sampler", "padding", "fill", "dims", "input_size", "output_size")


def export(
    what: Annotated[
        str,
        typer.Argument(
            help="A run's folder, a folder of weights, a name of trained weights, or a transform."
        ),
    ],
    out: Annotated[Path, typer.Option(help="The file (.onnx or .pt2).")],
    sampler: Annotated[str, typer.Option(help="Of a bare transform: see `stn list`.")] = "bilinear",
    padding: Annotated[str, typer.Option(help="Of a bare transform.")] = "zeros",
    fill: Annotated[float | None, typer.Option(help="What padding fill reads outside.")] = None,
    dims: Annotated[int, typer.Option(min=2, max=3, help="Of a bare transform.")] = 2,
    input_size: Annotated[
        int | None, typer.Option(min=2, help="Fix a bare transform's input to so many pixels.")
    ] = None,
    output_size: Annotated[
        int | None, typer.Option(min=1, help="Of a bare transform, in pixels; else the input's.")
    ] = None,
    opset: Annotated[
        int | None, typer.Option(help="Of an ONNX file: 18 to 25; 20 if not given.")
    ] = None,
    grid_sample: Annotated[
        bool, typer.Option(help="May use GridSample, which not every run time has; else gathers.")
    ] = True,
    data_root: DataRoot = None,
    context: typer.Context = None,  # type: ignore[assignment]
) -> None:
    """Write a trained network, or the bare warp (image, theta) -> image of a transform, for other
    run times. The file is checked first, at several sizes: an ONNX file against ONNX Runtime, to
    1e-5.

    Batch (of a bare warp also channels and size) are dynamic. A network's outputs are scores and,
    with a transformer, warped and theta.

    Examples:

        stn export st_cnn_affine_rts --out digits.onnx

        stn export thin_plate_spline --sampler bicubic --padding border --out warp.onnx

        stn export runs/table1/rts--st_cnn_affine--seed0 --out digits.pt2

        stn export affine --dims 3 --no-grid-sample --opset 18 --out volumes.onnx
    """
    import json

    import torch

    from spatial_transformer.errors import OptionError
    from spatial_transformer.experiments.data.catalogue import make_dataset
    from spatial_transformer.experiments.runner.load import load_model
    from spatial_transformer.export import Warp, export_network, export_warp
    from spatial_transformer.transforms import TRANSFORMS

    if what in TRANSFORMS.names():
        transform = TRANSFORMS.make(what, dims=dims)
        warp = Warp(transform, output_size, kernel=sampler, padding=padding, fill=fill)
        images = None if input_size is None else torch.rand(4, 2, *(input_size,) * dims)
        difference = export_warp(
            warp, out, images=images, fixed_size=input_size is not None, opset=opset,
            grid_sample=grid_sample,
        )  # fmt: skip
    else:
        sources = {p: context.get_parameter_source(p) for p in OF_WARPS}
        options = [p for p, source in sources.items() if source and source.name != "DEFAULT"]
        if options:
            words = ", ".join("--" + p.replace("_", "-") for p in options)
            raise OptionError(f"{what} is no transform: {words} would change nothing of a network")
        loaded = load_model(what)
        images, _ = next(make_dataset(loaded.dataset).fixed("test", data_root=data_root))
        labels = [str(k) for k in range(loaded.config.classes)]
        about = {"name": loaded.name, "dataset": loaded.dataset, "labels": json.dumps(labels)}
        difference = export_network(
            loaded.model, out, images[:64], metadata=about, opset=opset, grid_sample=grid_sample
        )
    say(
        f"wrote {out}: {out.stat().st_size / 1e6:.2f} MB, largest difference {difference:.1e}",
    )
