"""The benchmarks run and write what the report reads; no time is asserted."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from benchmarks.contestants import CASES, STEPS, Case, check, contestants
from benchmarks.svhn import House, stir
from benchmarks.timing import THREADS, alternate, save

from benchmarks import bench_sample, bench_step, bench_warp, import_time, memory
from spatial_transformer.experiments.models.build import count_parameters
from spatial_transformer.experiments.tables.table1.config import TABLE1
from spatial_transformer.ops.cpu import load
from tools import benchmarks as report

TINY = [
    Case(2, 1, 9, 7),
    Case(2, 3, 8, 11, channels_last=True),
    Case(2, 1, 6, 5, dims=3),
]


@pytest.fixture(autouse=True)
def _threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("case", TINY, ids=lambda case: case.name)
@pytest.mark.parametrize("step", STEPS)
def test_everybody_computes_the_same_warp(case, step):
    entrants = contestants(case, step, compiled=False)
    opencv = {"OpenCV"} if step == "forward" and case.dims == 2 else set()
    assert set(entrants) == {"spatial_transformer", "torch", "kornia"} | opencv
    check(case, step, entrants)


def test_another_warp_is_found_out():
    case = TINY[0]
    entrants = contestants(case, "forward", compiled=False)
    entrants["kornia"] = contestants(case, "forward", compiled=False)["kornia"]  # other pixels
    with pytest.raises(RuntimeError, match="2x1x9->7 forward: kornia is off by"):
        check(case, "forward", entrants)


def test_given_grids_are_read_alike():
    for name, entrants in bench_sample.cases(2, 3, 9).items():
        ours, theirs = (function() for function in entrants.values())
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5, msg=name)


@pytest.mark.slow
def test_compiled_too():
    check(TINY[0], "full", contestants(TINY[0], "full"))


def test_the_shapes_are_those_of_the_issue():
    assert [case.name for case in CASES] == [
        *("256x1x28->28", "256x1x40->40", "256x1x60->30"),
        *("64x48x32->32", "64x48x32->32 channels_last"),
        *("32x64x56->28", "32x64x56->28 channels_last"),
        *("16x3x448->224", "8x3x512->512", "1x3x1024->1024", "4x1x96^3->96^3"),
    ]


def test_rounds_fit_the_time_and_alternate_in_direction():
    calls = []
    found = alternate({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 0, least=7)
    assert "".join(calls) == "abab" + "abba" * 3 + "ab"
    assert found["a"]["repeats"] == 7
    assert set(found["a"]) == {"median", "iqr", "repeats"}
    assert alternate({"a": lambda: None}, 10, most=9)["a"]["repeats"] == 9


@pytest.mark.slow
def test_speed_and_memory_rows_are_what_the_tables_are_made_of(tmp_path, capsys):
    rows = bench_warp.run(TINY, THREADS, seconds=0, compiled=False)
    text = capsys.readouterr().out
    assert "1 threads  2x1x9->7                     forward  ours" in text
    assert "2 threads, full, kornia: all shapes" in text
    assert len(rows) == 2 * (3 * 9 + 2)
    assert all(r["median"] > 0 and r["iqr"] >= 0 and r["repeats"] >= 7 for r in rows)
    assert {r["backend"] for r in rows if r["name"] == "spatial_transformer"} <= {"cpu", "eager"}
    used = memory.measure(TINY[:1], compiled=False)
    save(tmp_path / "warp.json", {"speed": rows, "memory": used})
    whole = json.loads((tmp_path / "warp.json").read_text())
    assert {"hardware", "cores", "torch", "kornia", "opencv", "spatial_transformer"} <= set(whole)
    results = report.load_results(tmp_path / "warp.json")
    assert report.shapes_table(results["speed"]).count("\n") == 1 + 2 * 3 * 3
    assert "| 2x1x9->7 | forward |" in report.memory_table(results["memory"])


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="no peaks to reset")
def test_memory_sees_what_is_taken_and_given_back():
    code = """
import torch
from benchmarks import memory
print(memory.extra(lambda: torch.ones(16_000_000)[:1].clone()))  # 64 MB
print(memory.extra(lambda: torch.ones(16_000_000)))
"""
    found = subprocess.check_output(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        env={**os.environ, **memory.GIVE_BACK},
    )
    greedy, returned = map(int, found.split())
    assert 60e6 < greedy < 70e6
    assert returned < 4e6  # what it returns is not extra


def test_a_network_with_transformers_is_the_papers():
    with torch.device("meta"):
        cnn, multi = House(), House(4)
    convolutions = [m for m in cnn.features if isinstance(m, torch.nn.Conv2d)]
    assert [c.out_channels for c in convolutions] == [48, 64, 128, 160, 192, 192, 192, 192]
    assert cnn(torch.zeros(2, 3, 64, 64, device="meta")).shape == (2, 5, 11)
    # the localisation networks: fc[32]-fc[32] and theta on the inputs of the first four
    inputs = [3 * 64 * 64, 48 * 32 * 32, 64 * 32 * 32, 128 * 16 * 16]
    added = sum(32 * n + 32 + 32 * 32 + 32 + 6 * 32 + 6 for n in inputs)
    assert count_parameters(multi) - count_parameters(cnn) == added


def test_stirred_transformers_are_not_the_identity():
    model = House(1, size=16, filters=(4,) * 8, units=8)
    image = torch.rand(1, 3, 16, 16)
    assert torch.equal(model.features[0](image), image)
    stir(model)
    assert not torch.allclose(model.features[0](image), image)


def test_steps_of_networks():
    config = TABLE1.cell("rts", "st_cnn")
    small = replace(config.model, parameters=20_000, in_shape=(1, 42, 42))
    config = replace(config, model=small, recipe=replace(config.recipe, batch_size=4))
    row = bench_step.measure_rts(config, 1, steps=2, seconds=0)
    assert (row["profiled_percent"] > 0) == (load.LIBRARY is not None)
    assert 0 < row["warp"]["spatial_transformer"]["percent"] < 100
    assert row["step"]["repeats"] == 2
    rows = bench_step.measure_svhn(1, 0, batch=2, size=16, filters=(4,) * 8, units=8)
    assert [(r["layout"], r["step"]) for r in rows] == [
        ("contiguous", "forward"),
        ("contiguous", "forward and backward"),
        ("channels_last", "forward"),
        ("channels_last", "forward and backward"),
    ]
    assert report.rts_table([{"recipe": "x", **row}]).count("\n") == 2
    assert report.svhn_table(rows).count("\n") == 5


@pytest.mark.slow
def test_the_import_is_timed_in_processes_of_its_own(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(import_time, "RUNS", 2)
    monkeypatch.setattr(import_time, "CODE", "import spatial_transformer")
    import_time.main()
    rows = report.load_results(tmp_path / "results" / "benchmarks" / "import.json")
    assert rows[0]["repeats"] == 2
    assert rows[0]["median"] > 0
    assert report.import_table(rows).endswith("| 2 |")
