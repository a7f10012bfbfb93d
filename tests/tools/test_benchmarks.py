"""Benchmark tables are made of results alone, losses included."""

import json

import pytest
from tools.tables import fill_tables, main

from spatial_transformer.errors import DataError
from tools import benchmarks as report
from tools import speed

#: seconds of ours and of torch, by shape
SECONDS = {"8x1x4->4": (1.0, 8.0), "8x2x4->4": (1.0, 2.0), "8x2x4->4 channels_last": (1.0, 0.5)}


def row(shape, name, median, step="full", threads=1):
    return {
        "shape": shape, "step": step, "threads": threads, "name": name,
        "median": median, "iqr": 0.2, "repeats": 7,
    }  # fmt: skip


ROWS = [
    row(shape, name, median)
    for shape, pair in SECONDS.items()
    for name, median in zip((report.OURS, "torch"), pair, strict=True)
] + [row("8x1x4->4", "OpenCV", 3.0)]


def test_geometric_means_and_the_least_of_each():
    assert report.warp_table(ROWS).splitlines() == [
        "| ours against | full step, 1 thread |",
        "|---|---|",
        "| F.affine_grid + F.grid_sample | 2.0x (0.50x) |",
        "| OpenCV | 3.0x (3.0x) |",
    ]
    assert "| 4.0x (2.0x) |" in report.warp_table(ROWS, "without channels_last")
    only = report.warp_table(ROWS, "channels_last only")
    assert "| 0.50x (0.50x) |" in only
    assert "| OpenCV | - |" in only
    assert report.advantage_lines(ROWS)[0] == (
        "1 thread, full, torch: all shapes 2.0x (0.50x), without channels_last 4.0x (2.0x), "
        "channels_last only 0.50x (0.50x)"
    )


def test_losses_are_listed():
    assert report.loss_lines(ROWS)[2:] == [
        "- 8x2x4->4 channels_last, full step, 1 thread: 0.50x against torch"
    ]
    assert report.loss_lines(ROWS[:4]) == ["Slower: nowhere."]


def test_every_shape_with_its_spread():
    table = report.shapes_table(ROWS)
    assert "| 1 | full step | 8x1x4->4 | 1000.00 ± 100.00 | 8000.00 ± 100.00 (8.0x) |" in table
    assert table.splitlines()[-1].endswith("| - |")


def test_memory():
    rows = [
        {"shape": "a", "step": "full", "name": name, "output_pixels": 4, "extra_bytes": n << 20}
        for name, n in {report.OURS: 0, "torch": 5}.items()
    ]
    assert report.memory_table(rows).splitlines()[-1] == "| a | full step | 0.0 | 5.0 |"


def test_speed_of_each_against_torch():
    panels = report.speed_panels(ROWS, 1)
    assert panels["full step"][report.OURS] == {
        "8x1x4->4": 8, "8x2x4->4": 2, "8x2x4->4 channels_last": 0.5
    }  # fmt: skip
    assert panels["full step"]["OpenCV"] == {"8x1x4->4": pytest.approx(8 / 3)}


@pytest.fixture
def results(tmp_path):
    folder = tmp_path / "benchmarks"
    folder.mkdir()
    (folder / "warp.json").write_text(json.dumps({"results": {"speed": ROWS, "memory": []}}))
    return tmp_path


def test_a_page_is_filled_and_a_plot_drawn(results):
    page, plot = results / "page.md", results / "plot.png"
    page.write_text("a <!-- speed table -->old<!-- /speed table --> <!-- slower table -->"
                    "<!-- /slower table --> b")  # fmt: skip
    main([str(page), "--results", str(results)])
    speed.main([str(plot), "--results", str(results)])
    text = page.read_text()
    assert "old" not in text
    assert "| OpenCV | 3.0x (3.0x) |" in text
    assert "- 8x2x4->4 channels_last, full step" in text
    assert text.startswith("a <!--")
    assert text.endswith("--> b")
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_what_cannot_be_filled_is_named(results):
    page = results / "page.md"
    for text, message in [
        ("", "no markers for a table"),
        ("<!-- x table --><!-- /x table -->", "unknown table 'x'"),
        ("<!-- speed table -->", "no markers for a table 'speed'"),
        ("<!-- house numbers table --><!-- /house numbers table -->", "step.json: not the results"),
    ]:
        page.write_text(text)
        with pytest.raises(DataError, match=message):
            fill_tables(page, results)
        assert page.read_text() == text
