"""Tables out of benchmark results: how many times faster, where slower, how much memory.

The rows are those that ``benchmarks/`` writes: one contestant, shape, step and number of threads.
"""

from collections.abc import Sequence
from pathlib import Path
from statistics import geometric_mean
from typing import Any

from spatial_transformer.errors import DataError
from spatial_transformer.experiments.report.table import markdown
from spatial_transformer.files import read_json

Rows = Sequence[dict[str, Any]]

OURS = "spatial_transformer"
STEPS = {"forward": "forward", "theta": "theta step", "full": "full step"}
LABELS = {"torch": "F.affine_grid + F.grid_sample", "torch.compile": "torch.compile of that"}
#: which shapes a mean is over
LAYOUTS = ("all shapes", "without channels_last", "channels_last only")


def load_results(path: Path) -> Any:
    """What a benchmark found. Raises: DataError."""
    return _load(path, "results")[0]


def machine_line(path: Path) -> str:
    """What a benchmark was measured on, as a sentence. Raises: DataError."""
    hardware, torch, kornia, opencv = _load(path, "hardware", "torch", "kornia", "opencv")
    return f"Measured on: {hardware}; torch {torch}, kornia {kornia}, OpenCV {opencv}."


def _load(path: Path, *keys: str) -> list[Any]:
    try:
        whole = read_json(path)
        return [whole[key] for key in keys]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not the results of a benchmark: {error}") from error


def distinct(rows: Rows, key: str) -> list[Any]:
    """The values of a column, in the order in which they come."""
    return list(dict.fromkeys(r[key] for r in rows))


def opponents(rows: Rows) -> list[str]:
    return [name for name in distinct(rows, "name") if name != OURS]


def advantages(rows: Rows, name: str, step: str, threads: int) -> dict[str, float]:
    """Shape -> how many times as long as ours its median is; the shapes it can do.

    >>> row = {"shape": "a", "step": "full", "threads": 1}
    >>> ours, other = {**row, "name": OURS, "median": 1.0}, {**row, "name": "b", "median": 3.0}
    >>> advantages([ours, other], "b", "full", 1)
    {'a': 3.0}
    """
    here = [r for r in rows if r["step"] == step and r["threads"] == threads]
    ours = {r["shape"]: r["median"] for r in here if r["name"] == OURS}
    return {r["shape"]: r["median"] / ours[r["shape"]] for r in here if r["name"] == name}


def speed_panels(rows: Rows, threads: int) -> dict[str, dict[str, dict[str, float]]]:
    """Step -> contestant -> shape -> how many times as fast as PyTorch it is."""
    panels = {}
    for step in distinct(rows, "step"):
        torch = advantages(rows, "torch", step, threads)
        found = {OURS: torch}
        for name in opponents(rows):
            theirs = advantages(rows, name, step, threads)
            if theirs and name != "torch":
                found[name] = {shape: torch[shape] / x for shape, x in theirs.items()}
        panels[STEPS[step]] = found
    return panels


def of_layout(found: dict[str, float], layout: str) -> list[float]:
    """The values of the shapes a mean is over."""
    if layout == "all shapes":
        return list(found.values())
    last = layout == "channels_last only"
    return [value for shape, value in found.items() if shape.endswith("channels_last") == last]


def times(ratio: float) -> str:
    """
    >>> times(3.04), times(0.96)
    ('3.0x', '0.96x')
    """
    return f"{ratio:.1f}x" if ratio >= 1 else f"{ratio:.2f}x"


def mean_and_least(found: Sequence[float]) -> str:
    """The geometric mean and, in brackets, the least."""
    return f"{times(geometric_mean(found))} ({times(min(found))})" if found else "-"


def threads_of(count: int) -> str:
    return f"{count} thread{'s' if count > 1 else ''}"


def warp_table(rows: Rows, layout: str = "all shapes") -> str:
    """How many times faster ours is than each: geometric mean over the shapes, and the least."""
    columns = [(n, step) for n in distinct(rows, "threads") for step in distinct(rows, "step")]
    header = ["ours against", *(f"{STEPS[step]}, {threads_of(n)}" for n, step in columns)]
    body = []
    for name in opponents(rows):
        cells = [of_layout(advantages(rows, name, step, n), layout) for n, step in columns]
        body.append([LABELS.get(name, name), *map(mean_and_least, cells)])
    return markdown(header, body)


def speed_line(rows: Rows) -> str:
    """The means against PyTorch in a sentence, with as many threads as were measured at most."""
    threads = max(distinct(rows, "threads"))
    steps = [
        f"{STEPS[step]} {mean_and_least(list(advantages(rows, 'torch', step, threads).values()))}"
        for step in distinct(rows, "step")
    ]
    return (
        f"An affine warp on {threads_of(threads)} is so many times as fast as {LABELS['torch']}: "
        f"{', '.join(steps)}. Geometric means over all shapes, the least in brackets."
    )


def advantage_lines(rows: Rows) -> list[str]:
    """The means in words, by layout."""
    lines = []
    for n in distinct(rows, "threads"):
        for step in distinct(rows, "step"):
            for name in opponents(rows):
                found = advantages(rows, name, step, n)
                means = [
                    f"{layout} {mean_and_least(chosen)}"
                    for layout in LAYOUTS
                    if (chosen := of_layout(found, layout))
                    and (layout == "all shapes" or len(chosen) < len(found))
                ]
                if means:
                    lines.append(f"{threads_of(n)}, {step}, {name}: {', '.join(means)}")
    return lines


def loss_lines(rows: Rows) -> list[str]:
    """Every comparison in which ours is the slower, in words: a line a shape, step and threads."""
    lines = []
    for n in distinct(rows, "threads"):
        for step in distinct(rows, "step"):
            found = {name: advantages(rows, name, step, n) for name in opponents(rows)}
            for shape in distinct(rows, "shape"):
                lost = [
                    f"{times(ratio)} against {name}"
                    for name, of_shapes in found.items()
                    if (ratio := of_shapes.get(shape, 1.0)) < 1
                ]
                if lost:
                    lines.append(f"- {shape}, {STEPS[step]}, {threads_of(n)}: {', '.join(lost)}")
    return ["Slower:", "", *lines] if lines else ["Slower: nowhere."]


def shapes_table(rows: Rows) -> str:
    """Every median in milliseconds, its interquartile range, and how many times ours it is."""
    names = [OURS, *opponents(rows)]
    cells = {(r["threads"], r["step"], r["shape"], r["name"]): r for r in rows}
    body = []
    for n in distinct(rows, "threads"):
        for step in distinct(rows, "step"):
            for shape in distinct(rows, "shape"):
                found = [cells.get((n, step, shape, name)) for name in names]
                ours = found[0]["median"] if found[0] else float("nan")
                text = [
                    "-"
                    if r is None
                    else f"{1e3 * r['median']:.2f} ± {1e3 * r['iqr'] / 2:.2f}"
                    + ("" if r["name"] == OURS else f" ({times(r['median'] / ours)})")
                    for r in found
                ]
                body.append([str(n), STEPS[step], shape, *text])
    return markdown(["threads", "step", "shape", *names], body)


def memory_table(rows: Rows) -> str:
    """MiB at the peak of a step beyond inputs and results."""
    names = [OURS, *opponents(rows)]
    found = {(r["shape"], r["step"], r["name"]): r["extra_bytes"] / 2**20 for r in rows}
    body = [
        [
            shape,
            STEPS[step],
            *(f"{found[k]:.1f}" if (k := (shape, step, name)) in found else "-" for name in names),
        ]
        for shape in distinct(rows, "shape")
        for step in distinct(rows, "step")
    ]
    return markdown(["shape", "step", *names], body)


def rts_table(rows: Rows) -> str:
    """How much of a training step is spent in the transformer's grid and sampling."""
    header = ["recipe", "threads", "step, ms", "profiled, %", "timed, %", "torch's instead, %"]
    body = [
        [
            r["recipe"],
            str(r["threads"]),
            f"{1e3 * r['step']['median']:.1f}",
            f"{r['profiled_percent']:.2f}",
            *(f"{r['warp'][name]['percent']:.2f}" for name in (OURS, "torch")),
        ]
        for r in rows
    ]
    return markdown(header, body)


def svhn_table(rows: Rows) -> str:
    """A network with transformers against itself without."""
    body = [
        [
            str(r["threads"]),
            r["layout"],
            r["step"],
            *(f"{1e3 * r[name]['median']:.0f}" for name in ("cnn", "st_cnn_multi")),
            f"{r['percent_slower']:+.1f}",
        ]
        for r in rows
    ]
    header = ["threads", "layout", "step", "CNN, ms", "ST-CNN Multi, ms", "slower by, %"]
    return markdown(header, body)


def latency_table(rows: Rows) -> str:
    """Milliseconds from a drag to the page that answers it."""
    body = [[r["name"], f"{r['median']:.0f}", f"{r['iqr']:.0f}", f"{r['repeats']:,}"] for r in rows]
    return markdown(["", "median, ms", "interquartile range, ms", "moves"], body)


def distortions_table(rows: Rows) -> str:
    """Digits a second by contestant and number of threads."""
    threads = sorted(distinct(rows, "threads"))
    speed = {(r["name"], r["threads"]): f"{r['digits_per_second']:,.0f}" for r in rows}
    body = [[name, *(speed[name, n] for n in threads)] for name in distinct(rows, "name")]
    return markdown(["", *map(threads_of, threads)], body)


def import_table(rows: Rows) -> str:
    """Seconds that importing the library takes beyond torch, and the spread."""
    found = rows[0]
    seconds = f"{found['median']:.3f} ± {found['iqr'] / 2:.3f}"
    return markdown(["import, s beyond torch", "runs"], [[seconds, f"{found['repeats']}"]])
