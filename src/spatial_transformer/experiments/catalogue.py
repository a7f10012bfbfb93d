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


def find_recorded(name: str) -> Experiment | None:
    """The experiment that records of this name are of, by whichever recipe; None: of none.

    >>> find_recorded("table1-quick").name
    'table1'
    """
    for experiment in EXPERIMENTS.values():
        if name in map(experiment.recorded_as, experiment.recipes):
            return experiment
    return None


def _errors(experiment: Experiment, name: str, results: Path) -> str:
    """Paper / ours as Markdown, from the records of that name below ``results``."""
    return markdown(*experiment.table(experiment.own(load_records(results, name))))


def _claims(experiment: Experiment, name: str, results: Path) -> str:
    """What the records say of the paper's claims, as Markdown."""
    own = experiment.own(load_records(results, name))
    return markdown(*orderings_table(experiment.orderings(own)))


#: every table that a Markdown file can have, for :func:`fill_readme`
TABLES: dict[str, Callable[[Path], str]] = dict(README_TABLES)
for _experiment in EXPERIMENTS.values():
    for _name in map(_experiment.recorded_as, _experiment.recipes):
        TABLES[_name] = partial(_errors, _experiment, _name)
        if _experiment.claims:
            TABLES[f"{_name} claims"] = partial(_claims, _experiment, _name)
