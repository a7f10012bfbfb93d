"""Comparisons of models by the records, beyond their spread."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from spatial_transformer.experiments.report.table import comparable
from spatial_transformer.experiments.training.records import Record

#: standard errors that a difference must exceed
BEYOND = 2.0


@dataclass(frozen=True)
class Ordering:
    """How much lower the error of ``better`` is than that of ``worse``, in percent.

    ``error`` is the difference's standard error (see ``standard_error``).
    """

    dataset: str
    better: str
    worse: str
    difference: float
    error: float

    @property
    def holds(self) -> bool:
        """Whether the difference exceeds its standard error clearly."""
        return self.difference > BEYOND * self.error


def standard_error(better: Sequence[Record], worse: Sequence[Record]) -> float:
    """The standard error of the difference of two cells' mean test errors, in percent.

    It combines the sampling of test images, which are the same for all, and the spread of each cell
    over seeds. Where all records list the wrong images, the difference of each image is known,
    which varies less: most that one network gets wrong the other does. Else the two cells' errors
    are treated as independent. One seed has no spread.
    """
    sides = better, worse
    by_images = _paired(better, worse)
    if by_images is None:
        by_images = math.hypot(*(_binomial(side) for side in sides))
    by_seeds = (
        stdev(r.test_error_percent for r in side) / math.sqrt(len(side)) if len(side) > 1 else 0.0
        for side in sides
    )
    return math.hypot(by_images, *by_seeds)


def _binomial(records: Sequence[Record]) -> float:
    """The standard error of one cell's test error by its number of images."""
    share = mean(r.test_error_percent for r in records) / 100
    return 100 * math.sqrt(share * (1 - share) / min(r.test_images for r in records))


def _paired(better: Sequence[Record], worse: Sequence[Record]) -> float | None:
    """The standard error of the difference by its images; None where they are not recorded."""
    images = {r.test_images for r in (*better, *worse)}  # the unit, as labels of one depend
    if len(images) > 1 or any(r.mistakes is None for r in (*better, *worse)):
        return None
    (count,) = images
    weight: dict[int, float] = defaultdict(float)
    for sign, side in ((-1, better), (1, worse)):
        for record in side:
            for mistake in record.mistakes or ():
                weight[mistake // record.length] += sign / len(side) / record.length
    centre = sum(weight.values()) / count
    squares = sum(w * w for w in weight.values()) / count - centre**2
    return 100 * math.sqrt(max(0.0, squares) / count)


def compare(
    records: Sequence[Record], claims: Sequence[tuple[str, str]], datasets: Sequence[str]
) -> list[Ordering]:
    """Each claim (better model, worse model) on each data set that has records of both."""
    records = comparable(records)
    orderings = []
    for better, worse in claims:
        for dataset in datasets:
            sides = [
                [r for r in records if (r.model, r.dataset) == (model, dataset)]
                for model in (better, worse)
            ]
            if not all(sides):
                continue
            low, high = (mean(r.test_error_percent for r in side) for side in sides)
            error = standard_error(*sides)
            orderings.append(Ordering(dataset, better, worse, high - low, error))
    return orderings


def orderings_table(orderings: Sequence[Ordering]) -> tuple[list[str], list[list[str]]]:
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
        for o in orderings
    ]
    return header, rows
