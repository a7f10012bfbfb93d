"""What the paper claims of its models holds for ours, by the records and beyond their spread."""

import dataclasses
import random
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from spatial_transformer.experiments.report.orderings import compare, standard_error
from spatial_transformer.experiments.tables.catalogue import EXPERIMENTS, find_recorded
from spatial_transformer.experiments.training.records import Record, load_records

RESULTS = Path(__file__).parents[3] / "results"


def record(model: str, seed: int, error: float, images: int = 10_000) -> Record:
    values = {f.name: None for f in dataclasses.fields(Record)}
    values |= {
        "recipe": {},
        "config": {},
        "finished": "",
        "experiment": "x",
        "dataset": "r",
        "model": model,
        "seed": seed,
        "length": 1,
    }
    return Record(**(values | {"test_error_percent": error, "test_images": images}))


NAMES = [e.recorded_as(recipe) for e in EXPERIMENTS.values() if e.claims for recipe in e.recipes]


#: where the records say the opposite, as the experiment's page does: (name, data set, better)
CONTRADICTED = {(name, "tc", "st_cnn_affine") for name in ("table1", "table1-quick")}


@pytest.mark.parametrize("name", NAMES)
def test_the_claims_hold_in_the_records(name):
    found = find_recorded(name).orderings(load_records(RESULTS, name))
    if not found:
        pytest.skip(f"results/{name} has no two records that a claim compares")
    contradicted = {(name, o.dataset, o.better) for o in found if o.difference <= 0}
    assert contradicted == {c for c in CONTRADICTED if c[0] == name}
    assert any(o.holds for o in found)


def test_claims_name_models_of_the_table():
    for experiment in EXPERIMENTS.values():
        labels = experiment.labels()
        assert all(b in labels and w in labels and b != w for b, w in experiment.claims)


def test_one_run_each_is_judged_by_the_number_of_images():
    (found,) = compare([record("a", 0, 1.0), record("b", 0, 1.5)], [("a", "b")], ["r", "p"])
    assert found.difference == pytest.approx(0.5)
    # what counting successes of a binomial gives
    parts = [stats.binom(10_000, p).std() / 100 for p in (0.010, 0.015)]
    assert found.error == pytest.approx((parts[0] ** 2 + parts[1] ** 2) ** 0.5)
    assert found.holds
    (found,) = compare([record("a", 0, 1.0), record("b", 0, 1.2)], [("a", "b")], ["r"])
    assert found.difference > 0
    assert not found.holds


def test_seeds_that_differ_widely_widen_the_spread():
    rng = random.Random(0)
    wide = [rng.uniform(0, 4) for _ in range(5)]
    records = [record("a", k, e) for k, e in enumerate(wide)]
    records += [record("b", k, e + 0.5) for k, e in enumerate(wide)]
    (found,) = compare(records, [("a", "b")], ["r"])
    # both models' seeds, and both models' images, of which all seeds have the same
    shares = [(sum(wide) / 5 + k) / 100 for k in (0, 0.5)]
    images = [1e4 * p * (1 - p) / 10_000 for p in shares]
    assert found.error == pytest.approx((2 * stats.sem(wide) ** 2 + sum(images)) ** 0.5)
    assert not found.holds
    same = [record(m, k, e) for m, e in (("a", 1.0), ("b", 1.2)) for k in range(50)]
    (found,) = compare(same, [("a", "b")], ["r"])
    assert not found.holds  # however many seeds, they were measured on the same images


def test_the_same_images_are_compared_one_by_one():
    rng = random.Random(1)
    hard = {m: [rng.random() < p for _ in range(400)] for m, p in (("a", 0.03), ("b", 0.05))}
    both = [rng.random() < 0.1 for _ in range(400)]  # what all get wrong
    wrong = {m: [x or y for x, y in zip(both, alone, strict=True)] for m, alone in hard.items()}

    def said(model, mistakes):
        made = record(model, 0, 100 * sum(mistakes) / 400, 400)
        return dataclasses.replace(made, mistakes=[k for k, x in enumerate(mistakes) if x])

    records = [said(m, w) for m, w in wrong.items()]
    (found,) = compare(records, [("a", "b")], ["r"])
    each = [100 * (y - x) for x, y in zip(wrong["a"], wrong["b"], strict=True)]
    assert found.difference == pytest.approx(sum(each) / 400)
    assert found.error == pytest.approx(stats.sem(each, ddof=0))
    # where one does not say, the images are taken as others for each
    (apart,) = compare(
        [records[0], dataclasses.replace(records[1], mistakes=None)], [("a", "b")], ["r"]
    )
    assert apart.error > 1.5 * found.error
    # seeds: each image counts by its mean, and their spread is added
    other = [rng.random() < 0.1 for _ in range(400)]
    (found,) = compare(
        [*records, dataclasses.replace(said("b", other), seed=1)], [("a", "b")], ["r"]
    )
    each = [100 * ((y + z) / 2 - x) for x, y, z in zip(wrong["a"], wrong["b"], other, strict=True)]
    seeds = stats.sem([sum(wrong["b"]) / 4, sum(other) / 4])
    assert found.error == pytest.approx((stats.sem(each, ddof=0) ** 2 + seeds**2) ** 0.5)


def test_runs_of_another_recipe_are_no_seeds():
    records = [record("a", 0, 1.0), record("a", 1, 1.1), record("b", 0, 2.0), record("b", 1, 2.1)]
    records.append(dataclasses.replace(record("a", 2, 9.0), recipe={"iterations": 1}))
    (found,) = compare(records, [("a", "b")], ["r"])
    assert found.difference == pytest.approx(1.0)


def test_sequences_are_compared_by_whole_images():
    """Labels of one image are misread together: they are no test images of their own."""
    source = np.random.default_rng(1)
    sides, shares = [], []
    for seed in range(2):
        wrong = (source.random((500, 1)) < 0.1) & (source.random((500, 3)) < 0.8)
        mistakes = np.flatnonzero(wrong).tolist()
        one = record("a", seed, 100 * wrong.mean(), images=500)
        sides.append([dataclasses.replace(one, length=3, mistakes=mistakes)])
        shares.append(wrong.mean(1))
    expected = 100 * np.std(shares[1] - shares[0]) / 500**0.5
    assert standard_error(*sides) == pytest.approx(expected, rel=1e-6)
