"""Which of two models is better, by the records and beyond their spread."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from spatial_transformer.report.table import alike
from spatial_transformer.training.records import Record

#: standard errors that a difference must exceed
BEYOND = 2.0


@dataclass(frozen=True)
class Ordering:
    """How much less, in percent of the test images, ``better`` errs than ``worse``.

    ``error`` is the difference's standard error (see :func:`standard_error`).
    """

    dataset: str
    better: str
    worse: str
    difference: float
    error: float

    @property
    def holds(self) -> bool:
        return self.difference > BEYOND * self.error


def standard_error(records: Sequence[Record]) -> float:
    """Of the mean test error of a cell, in percent: what comes of its number of test images, which
    are the same for all seeds, and of its spread over seeds together. One seed has no spread: then
    it is of the images alone."""
    errors = [r.test_error_percent for r in records]
    share = mean(errors) / 100
    by_images = 100 * math.sqrt(share * (1 - share) / min(r.test_images for r in records))
    by_seeds = stdev(errors) / math.sqrt(len(errors)) if len(errors) > 1 else 0.0
    return math.hypot(by_images, by_seeds)


def compare(
    records: Sequence[Record], claims: Sequence[tuple[str, str]], datasets: Sequence[str]
) -> list[Ordering]:
    """Each claim (better model, worse model) on each data set that has records of both."""
    records = alike(records)
    found = []
    for better, worse in claims:
        for dataset in datasets:
            sides = [
                [r for r in records if (r.model, r.dataset) == (model, dataset)]
                for model in (better, worse)
            ]
            if not all(sides):
                continue
            low, high = (mean(r.test_error_percent for r in side) for side in sides)
            error = math.hypot(*(standard_error(side) for side in sides))
            found.append(Ordering(dataset, better, worse, high - low, error))
    return found


def orderings_table(found: Sequence[Ordering]) -> tuple[list[str], list[list[str]]]:
    """Header and rows."""
    header = ["data set", "better", "worse", "errs less by", "holds"]
    rows = [
        [
            o.dataset.upper(),
            o.better,
            o.worse,
            f"{o.difference:.2f} ± {o.error:.2f}",
            "yes" if o.holds else "too close to say" if o.difference > 0 else "no",
        ]
        for o in found
    ]
    return header, rows
