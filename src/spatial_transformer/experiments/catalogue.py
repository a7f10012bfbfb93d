"""The experiments by name."""

from spatial_transformer.errors import UnknownNameError
from spatial_transformer.experiments.addition.config import ADDITION
from spatial_transformer.experiments.cluttered40.config import CLUTTERED40
from spatial_transformer.experiments.colocalisation.config import COLOCALISATION
from spatial_transformer.experiments.experiment import Experiment
from spatial_transformer.experiments.table1.config import TABLE1
from spatial_transformer.experiments.volume.config import VOLUME

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
