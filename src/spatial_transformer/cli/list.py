"""stn list: everything that has a name."""

from rich.console import Console
from rich.table import Table


def list_names() -> None:
    """List everything that has a name: transforms, samplers, models, data sets and so on.

    Example:

        stn list
    """
    from spatial_transformer.experiments.data.catalogue import DATASETS
    from spatial_transformer.experiments.models.build import MODELS
    from spatial_transformer.experiments.tables.catalogue import EXPERIMENTS
    from spatial_transformer.localisation import list_localisations
    from spatial_transformer.ops.backend import NAMES
    from spatial_transformer.pretrained import list_pretrained
    from spatial_transformer.samplers import list_samplers
    from spatial_transformer.samplers.padding import PADDINGS
    from spatial_transformer.transforms import list_transforms

    table = Table(show_header=False, box=None, pad_edge=False)
    for what, names in (
        ("transforms", list_transforms()),
        ("samplers", list_samplers()),
        ("paddings", PADDINGS),
        ("backends", NAMES),
        ("localisation", list_localisations()),
        ("models", MODELS.names()),
        ("trained weights", list_pretrained() or ["none"]),
        ("data sets", DATASETS.names()),
        ("experiments", tuple(EXPERIMENTS)),
        ("recipes", tuple(dict.fromkeys(r for e in EXPERIMENTS.values() for r in e.recipes))),
    ):
        table.add_row(f"[bold]{what}[/bold]", "  ".join(names))
    Console().print(table)
