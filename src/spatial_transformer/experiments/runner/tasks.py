"""The tasks by name, as in ``Dataset.task``."""

from spatial_transformer.experiments.data.dataset import Dataset
from spatial_transformer.experiments.runner.colocalisation import Colocalise
from spatial_transformer.experiments.runner.sequence import Sequences
from spatial_transformer.experiments.runner.task import Classification, Task

TASKS: dict[str, Task] = {
    "classification": Classification(),
    "colocalisation": Colocalise(),
    "sequence": Sequences(),
}


def task_of(dataset: Dataset) -> Task:
    """The task of a data set."""
    return TASKS[dataset.task]
