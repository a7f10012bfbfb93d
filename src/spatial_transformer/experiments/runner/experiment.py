"""Experiments: tables of the paper as cells to run, with the paper's numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from spatial_transformer.errors import OptionError, UnknownNameError
from spatial_transformer.experiments.data.catalogue import make_dataset
from spatial_transformer.experiments.models.build import ModelConfig
from spatial_transformer.experiments.report.orderings import Ordering, compare
from spatial_transformer.experiments.report.table import comparison_table
from spatial_transformer.experiments.runner.config import RunConfig
from spatial_transformer.experiments.training.recipe import Recipe
from spatial_transformer.experiments.training.records import Record
from spatial_transformer.registry import unknown

#: of a whole network, in the paper's tables
PARAMETERS = 400_000


@dataclass(frozen=True)
class Experiment:
    """The cells of a table.

    Args:
        models: (model, transform) of each row, from the top.
        datasets: The columns, from the left.
        recipes: By name; the first is the default.
        paper: The paper's error in percent by (model's label, data set), where it has one.
        claims: (better label, worse label), the paper's claims for every data set.
        first: Labels of models and data sets whose cells are run first, being the most informative.
        sampled: Size that the transformer samples to, in pixels, by model or data set; else the
            input's size.
        padding: Of the transformers.
        parameters: The budget of ``ModelConfig``, by recipe; else 400k.
        changes: To recipes, by recipe and model; such as other ``iterations``.
        start: The run that the cells start from, such as of a network whose features they use.
    """

    name: str
    title: str
    models: Sequence[tuple[str, str]]
    datasets: Sequence[str]
    recipes: Mapping[str, Recipe]
    paper: Mapping[tuple[str, str], float] = field(default_factory=dict)
    claims: Sequence[tuple[str, str]] = ()
    first: tuple[Sequence[str], Sequence[str]] = ((), ())
    sampled: Mapping[str, int] = field(default_factory=dict)
    padding: str = "zeros"
    parameters: Mapping[str, int] = field(default_factory=dict)
    changes: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    start: RunConfig | None = None

    def labels(self) -> tuple[str, ...]:
        """The models' names in records and tables, from the top row down."""
        return tuple(ModelConfig(m, transform=t).label for m, t in self.models)

    def recorded_as(self, recipe: str) -> str:
        """The experiment's name in a recipe's records."""
        return self.name if recipe == next(iter(self.recipes)) else f"{self.name}-{recipe}"

    def own(self, records: Sequence[Record]) -> list[Record]:
        """The records of this table's cells by its own recipes.

        Those with other options are not results of the experiment.
        """
        return [r for r in records if self._is_own(r)]

    def _is_own(self, record: Record) -> bool:
        recipes = {self.recorded_as(recipe): recipe for recipe in self.recipes}
        models = {ModelConfig(m, transform=t).label: (m, t) for m, t in self.models}
        if record.experiment not in recipes or record.model not in models:
            return False
        if record.dataset not in self.datasets:
            return False
        recipe, model = recipes[record.experiment], models[record.model]
        return self.cell(record.dataset, *model, recipe=recipe, seed=record.seed).matches(record)

    def table(self, records: Sequence[Record]) -> tuple[list[str], list[list[str]]]:
        """Header and rows of paper / ours, from the records of this experiment by one recipe.

        By a recipe other than the first, only the models and data sets that it was used for.
        """
        models, datasets = self.labels(), tuple(self.datasets)
        if records and all(r.experiment != self.name for r in records):
            models = tuple(m for m in models if any(r.model == m for r in records))
            datasets = tuple(d for d in datasets if any(r.dataset == d for r in records))
        return comparison_table(records, models, datasets, self.paper)

    def orderings(self, records: Sequence[Record]) -> list[Ordering]:
        """The paper's claims compared with the records, where there are records."""
        return compare(records, self.claims, self.datasets)

    def cell(
        self,
        dataset: str,
        model: str,
        transform: str = "affine",
        *,
        recipe: str | None = None,
        seed: int = 0,
    ) -> RunConfig:
        """One run of the table, or of another data set or model in the same way.

        Raises:
            UnknownNameError: If there is no such recipe.
        """
        recipe = recipe or next(iter(self.recipes))
        _check("recipe", [recipe], self.recipes)
        data = make_dataset(dataset)
        config = ModelConfig(
            model,
            in_shape=data.in_shape,
            classes=data.classes,
            transform=transform,
            size=self.sampled.get(model, self.sampled.get(dataset)),
            padding=self.padding,
            parameters=self.parameters.get(recipe, PARAMETERS),
            length=data.length,
        )
        training = replace(self.recipes[recipe], **self.changes.get(recipe, {}).get(model, {}))
        name = self.recorded_as(recipe)
        return RunConfig(name, dataset, config, seed, training, self.start)

    def plan(
        self,
        *,
        models: Sequence[str] = (),
        datasets: Sequence[str] = (),
        seeds: int = 1,
        recipe: str | None = None,
    ) -> list[RunConfig]:
        """Every run of the table, in the order in which to run them.

        Seed by seed, the most informative cells first, then the rows from the bottom up.

        Args:
            models: Only these labels; all if empty.
            datasets: Only these; all if empty.
            seeds: Number of seeds.
            recipe: The recipe's name; the first if None.

        Raises:
            UnknownNameError: If a label, a data set or a recipe is unknown.
            OptionError: If ``seeds`` is not a positive whole number.
        """
        labels = self.labels()
        _check("model", models, labels)
        _check("data set", datasets, self.datasets)
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
            self.cell(self.datasets[j], *self.models[i], recipe=recipe, seed=seed)
            for seed in range(seeds)
            for i, j in sorted(cells, key=rank)
        ]


def _check(kind: str, asked: Sequence[str], known: Sequence[str] | Mapping[str, object]) -> None:
    for name in asked:
        if name not in known:
            raise UnknownNameError(unknown(kind, name, known))
