"""An experiment: a table of the paper as cells to run, and its numbers to compare with."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from spatial_transformer.errors import OptionError, UnknownNameError
from spatial_transformer.experiments.run import RunConfig


@dataclass(frozen=True)
class Experiment:
    """The cells of a table.

    Args:
        models: (model, transform) of each row, from the top.
        datasets: the columns, from the left.
        first: labels of models and data sets whose cells tell the most; they are run first.
        cell: ``cell(dataset, model, transform, recipe=name, seed=k)`` configures one run.
        recipes: the names that ``cell`` knows.
        paper: the paper's error in percent by (label, data set), where it has one.
    """

    name: str
    title: str
    models: Sequence[tuple[str, str]]
    datasets: Sequence[str]
    cell: Callable[..., RunConfig]
    recipes: Sequence[str]
    paper: Mapping[tuple[str, str], float]
    first: tuple[Sequence[str], Sequence[str]] = ((), ())

    def labels(self) -> tuple[str, ...]:
        """The models' names in records and tables, from the top row down."""
        return tuple(self._one(model, self.datasets[0]).model.label for model in self.models)

    def _one(
        self, model: tuple[str, str], dataset: str, recipe: str | None = None, seed: int = 0
    ) -> RunConfig:
        name, transform = model
        return self.cell(dataset, name, transform, recipe=recipe or self.recipes[0], seed=seed)

    def plan(
        self,
        *,
        models: Sequence[str] = (),
        datasets: Sequence[str] = (),
        seeds: int = 1,
        recipe: str | None = None,
    ) -> list[RunConfig]:
        """Every run of the table, in the order in which to run them: seed by seed, the most
        telling cells first, then the rows from the bottom up.

        Args:
            models: only these labels; datasets: only these. All, if empty.
            recipe: the first of ``recipes``, if None.
        Raises: UnknownNameError, OptionError.
        """
        labels = self.labels()
        _check("model", models, labels)
        _check("data set", datasets, self.datasets)
        if recipe is not None:
            _check("recipe", [recipe], self.recipes)
        if seeds < 1:
            raise OptionError(f"seeds must be a positive number of runs a cell, got {seeds}")
        early_models, early_datasets = self.first

        def rank(cell: tuple[int, int]) -> tuple[int, int, int]:
            label, dataset = labels[cell[0]], self.datasets[cell[1]]
            if label in early_models and dataset in early_datasets:
                return 0, early_datasets.index(dataset), early_models.index(label)
            return 1, -cell[0], cell[1]

        cells = [
            (i, j)
            for i in range(len(labels))
            for j in range(len(self.datasets))
            if (not models or labels[i] in models)
            and (not datasets or self.datasets[j] in datasets)
        ]
        return [
            self._one(self.models[i], self.datasets[j], recipe, seed)
            for seed in range(seeds)
            for i, j in sorted(cells, key=rank)
        ]


def _check(kind: str, asked: Sequence[str], known: Sequence[str]) -> None:
    for name in asked:
        if name not in known:
            raise UnknownNameError(f"unknown {kind} {name!r}. Known here: {', '.join(known)}")
