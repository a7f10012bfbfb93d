"""Tables are made of records alone."""

from dataclasses import replace

from spatial_transformer.experiments.report.table import (
    comparison_table,
    error_table,
    markdown,
    summarise,
)
from spatial_transformer.experiments.training.records import Record

BASE = Record(
    experiment="table1", dataset="rts", model="cnn", seed=0, test_error_percent=1.0,
    validation_error_percent=0, test_loss=0, train_loss=0, test_images=10_000, iterations=1000,
    batch_size=4, parameters=5000, recipe={}, config={}, wall_seconds=1, hardware="x", torch="2",
    commit="abc",
)  # fmt: skip


def test_mean_and_spread_over_seeds_and_gaps_shown():
    records = [BASE, replace(BASE, seed=1, test_error_percent=2.0)]
    records.append(replace(BASE, model="st_cnn_affine", dataset="r", test_error_percent=0.5))
    header, rows = error_table(records)
    assert header == ["model", "parameters", "steps", "R", "RTS"]
    assert rows == [
        ["cnn", "5,000", "1,000", "-", "1.50 ± 0.71 (2)"],
        ["st_cnn_affine", "5,000", "1,000", "0.50", "-"],
    ]


def test_different_budgets_and_lengths_are_never_averaged():
    _, rows = error_table([BASE, replace(BASE, iterations=2000), replace(BASE, parameters=1)])
    assert len(rows) == 3
    assert len(error_table([BASE, replace(BASE, seed=1, recipe={"lr": 1.0})])[1]) == 2


def test_spread():
    assert summarise([0.5]) == "0.50"
    assert summarise([1.0, 2.0, 3.0]) == "2.00 ± 1.00 (3)"
    assert markdown(["a"], [["b"]]) == "| a |\n|---|\n| b |"


def test_papers_numbers_stand_beside_ours():
    records = [BASE, replace(BASE, seed=1, test_error_percent=2.0)]
    header, rows = comparison_table(records, ["fcn", "cnn"], ["r", "rts"], {("cnn", "rts"): 0.8})
    assert header == ["paper / ours", "R", "RTS"]
    assert rows == [["fcn", "- / -", "- / -"], ["cnn", "- / -", "0.8 / 1.50 ± 0.71 (2)"]]
    assert comparison_table([], ["cnn"], ["r"], {("cnn", "r"): 1.15})[1] == [["cnn", "1.15 / -"]]
    other = replace(BASE, seed=2, test_error_percent=9.0, recipe={"lr": 1.0})
    assert comparison_table([*records, other], ["fcn", "cnn"], ["r", "rts"], {})[1][1][-1] == (
        "- / 1.50 ± 0.71 (2)"
    )
    other = replace(other, recipe=BASE.recipe, config={"data_version": 2})
    assert comparison_table([*records, other], ["cnn"], ["rts"], {})[1][0][-1] == (
        "- / 1.50 ± 0.71 (2)"
    )
    seeds = [replace(r, config={"seed": r.seed}) for r in records]
    assert comparison_table(seeds, ["cnn"], ["rts"], {})[1][0][-1] == "- / 1.50 ± 0.71 (2)"
    older = replace(BASE, recipe={"lr": 1.0}, finished="1", test_error_percent=9.0)
    newer = replace(BASE, seed=1, finished="2")
    assert comparison_table([older, newer], ["cnn"], ["rts"], {})[1] == [["cnn", "- / 1.00"]]
    many = [f"t{k}" for k in range(11)]
    header, rows = comparison_table([], ["cnn"], many, {})
    assert header == ["paper / ours", "cnn"]
    assert rows == [[f"T{k}", "- / -"] for k in range(11)]
