"""Tables of records: models down, data sets across, mean and spread over seeds."""

import json
from collections.abc import Mapping, Sequence
from statistics import mean, stdev

from spatial_transformer.experiments.training.records import Record


def summarise(errors: Sequence[float]) -> str:
    """``0.52`` for one seed, ``0.52 +- 0.03 (3)`` for three: mean, standard deviation, count.

    Examples:
        >>> summarise([1.0, 2.0])
        '1.50 ± 0.71 (2)'
    """
    if len(errors) == 1:
        return f"{errors[0]:.2f}"
    return f"{mean(errors):.2f} ± {stdev(errors):.2f} ({len(errors)})"


def comparable(records: Sequence[Record]) -> list[Record]:
    """Of each cell (model, data set), the records that are seeds of one recipe and network.

    That is the recipe that most of them have; the newest one if several have as many.
    """
    groups: dict[tuple[str, str], dict[str, list[Record]]] = {}
    for r in records:
        config = {k: v for k, v in r.config.items() if k != "seed"}
        made_by = json.dumps([r.recipe, config, r.parameters], sort_keys=True)
        groups.setdefault((r.model, r.dataset), {}).setdefault(made_by, []).append(r)
    chosen = [
        max(cell.values(), key=lambda group: (len(group), max(r.finished for r in group)))
        for cell in groups.values()
    ]
    return [r for group in chosen for r in group]


def error_table(records: Sequence[Record]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: model, parameters, steps, then the test error in % on each data set."""
    datasets = sorted({r.dataset for r in records})
    groups = sorted({_trained(r) for r in records})
    header = ["model", "parameters", "steps", *(d.upper() for d in datasets)]
    rows = []
    for group in groups:
        model, parameters, iterations, _ = group
        row = [model, f"{parameters:,}", f"{iterations:,}"]
        for dataset in datasets:
            errors = [
                r.test_error_percent
                for r in records
                if (_trained(r), r.dataset) == (group, dataset)
            ]
            row.append(summarise(errors) if errors else "-")
        rows.append(row)
    return header, rows


def _trained(r: Record) -> tuple[str, int, int, str]:
    return r.model, r.parameters, r.iterations, json.dumps(r.recipe, sort_keys=True)


def comparison_table(
    records: Sequence[Record],
    models: Sequence[str],
    datasets: Sequence[str],
    paper: Mapping[tuple[str, str], float],
) -> tuple[list[str], list[list[str]]]:
    """Header and rows of ``paper | ours`` by model and data set, ``-`` where there is no number.

    Args:
        records: The records.
        models: The rows, as records name them.
        datasets: The columns.
        paper: The paper's errors in percent by (model, data set).
    """
    records = comparable(records)
    rows = []
    for model in models:
        row = [model]
        for dataset in datasets:
            errors = [
                r.test_error_percent for r in records if (r.model, r.dataset) == (model, dataset)
            ]
            theirs = paper.get((model, dataset))
            ours = summarise(errors) if errors else "-"
            row.append(f"{'-' if theirs is None else _paper(theirs)} / {ours}")
        rows.append(row)
    header = ["paper / ours", *(d.upper() for d in datasets)]
    if len(datasets) > 10:  # stacked, where there are too many columns
        header, *rows = [list(column) for column in zip(header, *rows, strict=True)]
    return header, rows


def class_table(
    by_class: Mapping[int, tuple[int, int]], labels: Sequence[str]
) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the errors by class, the worst class first.

    Args:
        by_class: The wrong ones and all images of each class.
        labels: What each class means.

    Examples:
        >>> class_table({0: (0, 4), 1: (2, 8)}, ("zero", "one"))[1]
        [['1', 'one', '2', '8', '25.00'], ['0', 'zero', '0', '4', '0.00']]
    """
    share = {k: wrong / images for k, (wrong, images) in by_class.items()}
    rows = [
        [str(k), labels[k], *map(str, by_class[k]), f"{100 * share[k]:.2f}"]
        for k in sorted(by_class, key=lambda k: (-share[k], k))
    ]
    return ["class", "meaning", "wrong", "images", "error, %"], rows


def _paper(error: float) -> str:
    """An error with the digits that it is published with, one or two."""
    return f"{error:.1f}" if round(error, 1) == error else f"{error:.2f}"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table.

    Examples:
        >>> print(markdown(["a", "b"], [["1", "2"]]))
        | a | b |
        |---|---|
        | 1 | 2 |
    """
    lines = [header, ["---"] * len(header), *rows]
    text = ["| " + " | ".join(line) + " |" for line in lines]
    text[1] = text[1].replace(" ", "")
    return "\n".join(text)
