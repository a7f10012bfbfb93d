"""Draws how many times faster than PyTorch everybody is, shape by shape.

python -m tools.speed docs/images/benchmark.png [--results results]
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from spatial_transformer.viz.style import BLACK, BLUE, GREEN, PURPLE, VERMILION, save_figure
from tools.benchmarks import distinct, load_results, speed_panels

#: a colour and a marker of its own for each
LOOKS = {
    "spatial_transformer": (VERMILION, "o"),
    "torch.compile": (BLUE, "s"),
    "kornia": (GREEN, "^"),
    "OpenCV": (PURPLE, "D"),
}
OTHERS = (BLACK, "x")


def draw_speed(panels: Mapping[str, Mapping[str, Mapping[str, float]]], where: str = "") -> Figure:
    """One panel a step, one row a shape, one dot a contestant.

    Args:
        panels: step -> contestant -> shape -> how many times as fast as PyTorch.
        where: on what it was measured.
    """
    shapes = list(dict.fromkeys(s for p in panels.values() for found in p.values() for s in found))
    figure = Figure(figsize=(10, 1.5 + 0.3 * len(shapes)), dpi=120, layout="constrained")
    cells = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
    handles = {}
    for axes, (step, contestants) in zip(cells, panels.items(), strict=True):
        axes.axvline(1, color="0.4", linewidth=1)
        for name, found in contestants.items():
            colour, marker = LOOKS.get(name, OTHERS)
            handles[name] = axes.scatter(
                list(found.values()),
                [shapes.index(shape) for shape in found],
                color=colour,
                marker=marker,
                s=55 if name == "spatial_transformer" else 30,
                zorder=3,
                label=name,
            )
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}x"))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.grid(axis="both", color="0.88", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.set_title(step, fontsize=11)
        axes.tick_params(labelsize=10, length=0)
    cells[0].set_yticks(
        range(len(shapes)), [s.replace("->", "→").replace("^3", "³") for s in shapes]
    )
    cells[0].set_ylim(len(shapes) - 0.5, -0.5)
    figure.supxlabel(f"times as fast as PyTorch {where}(right is faster)", fontsize=10)
    figure.legend(
        handles.values(), handles.keys(), loc="outside upper center", ncols=4, frameon=False
    )
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.speed", description=__doc__)
    parser.add_argument("picture", type=Path, help=".png, .pdf or .svg")
    parser.add_argument("--results", default=Path("results"), type=Path, help="a folder of records")
    options = parser.parse_args(arguments)
    rows = load_results(options.results / "benchmarks" / "warp.json")["speed"]
    threads = max(distinct(rows, "threads"))
    where = f"on {threads} CPU threads "
    save_figure(draw_speed(speed_panels(rows, threads), where), options.picture)


if __name__ == "__main__":
    main()
