"""The experiments by name, and their tables."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from spatial_transformer.errors import UnknownNameError
from spatial_transformer.experiments.addition.config import ADDITION
from spatial_transformer.experiments.cluttered40.config import CLUTTERED40
from spatial_transformer.experiments.colocalisation.config import COLOCALISATION
from spatial_transformer.experiments.experiment import Experiment
from spatial_transformer.experiments.table1.config import TABLE1
from spatial_transformer.experiments.volume.config import VOLUME
from spatial_transformer.report.orderings import orderings_table
from spatial_transformer.report.readme import TABLES as README_TABLES
from spatial_transformer.report.table import markdown
from spatial_transformer.training.records import load_records

EXPERIMENTS: dict[str, Experiment] = {
    e.name: e for e in (TABLE1, ADDITION, CLUTTERED40, COLOCALISATION, VOLUME)
}


def find_experiment(name: str) -> Experiment:
    """Raises: UnknownNameError.

    >>> find_experiment("table1").datasets
    ('r', 'rts', 'p', 'e', 'tc')
    """
    if name not in EXPERIMENTS:
        raise UnknownNameError(f"unknown experiment {name!r}. Known: {', '.join(EXPERIMENTS)}")
    return EXPERIMENTS[name]


def experiment_table(name: str, results: Path) -> str:
    """An experiment's table of paper / ours as Markdown, from its records below ``results``.

    Raises: UnknownNameError, CheckpointError.
    """
    table = find_experiment(name)
    return markdown(*table.table(load_records(results, name)))


def claims_table(name: str, results: Path) -> str:
    """What the records say of the paper's claims, as Markdown.

    Raises: UnknownNameError, CheckpointError.
    """
    table = find_experiment(name)
    return markdown(*orderings_table(table.orderings(load_records(results, name))))


#: every table that a Markdown file can have, for :func:`fill_readme`
TABLES: dict[str, Callable[[Path], str]] = {
    **README_TABLES,
    **{name: partial(experiment_table, name) for name in EXPERIMENTS},
    **{f"{e.name} claims": partial(claims_table, e.name) for e in EXPERIMENTS.values() if e.claims},
}
