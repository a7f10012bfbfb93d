"""The experiments by name."""

from spatial_transformer.errors import UnknownNameError
from spatial_transformer.experiments.runner.experiment import Experiment
from spatial_transformer.experiments.tables.addition.config import ADDITION
from spatial_transformer.experiments.tables.cluttered40.config import CLUTTERED40
from spatial_transformer.experiments.tables.colocalisation.config import COLOCALISATION
from spatial_transformer.experiments.tables.gtsrb.config import GTSRB
from spatial_transformer.experiments.tables.icstn.config import ICSTN
from spatial_transformer.experiments.tables.recurrent.config import RECURRENT
from spatial_transformer.experiments.tables.table1.config import TABLE1
from spatial_transformer.experiments.tables.volume.config import VOLUME
from spatial_transformer.registry import unknown

EXPERIMENTS: dict[str, Experiment] = {
    e.name: e
    for e in (
        *(TABLE1, ADDITION, CLUTTERED40, COLOCALISATION, VOLUME),
        *(RECURRENT, ICSTN, GTSRB),
    )
}


def find_experiment(name: str) -> Experiment:
    """An experiment by its name.

    Raises:
        UnknownNameError: If there is none of that name; the message lists the names.

    Examples:
        >>> find_experiment("table1").datasets
        ('r', 'rts', 'p', 'e', 'tc')
    """
    if name not in EXPERIMENTS:
        raise UnknownNameError(unknown("experiment", name, EXPERIMENTS))
    return EXPERIMENTS[name]


def find_recorded(name: str) -> Experiment | None:
    """The experiment whose records have this name, by any recipe; None if there is none.

    Examples:
        >>> find_recorded("table1-quick").name
        'table1'
    """
    for experiment in EXPERIMENTS.values():
        if name in map(experiment.recorded_as, experiment.recipes):
            return experiment
    return None
