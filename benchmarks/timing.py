"""How everything is timed: side by side in one process, in turn, median and spread."""

import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import torch

import spatial_transformer as stn
from spatial_transformer.experiments.training.records import commit, hardware
from spatial_transformer.files import write_whole

#: all there is is measured with so many threads
THREADS = (1, 2)
#: how many others were running when this began; threads that wait for each other want idle cores
LOAD = os.getloadavg()[0]


def set_threads(count: int) -> None:
    """Of torch (ours are as many) and of OpenCV."""
    import cv2

    torch.set_num_threads(count)
    cv2.setNumThreads(count)


def warn_if_busy() -> None:
    if LOAD > 0.5:
        print(f"the machine is busy (load {LOAD:.1f}): what is measured now is not to be published")


def summary(times: list[float]) -> dict[str, float]:
    """Median and interquartile range of seconds, and how many they were."""
    low, _, high = statistics.quantiles(times, n=4)
    return {"median": statistics.median(times), "iqr": high - low, "repeats": len(times)}


def alternate(
    contestants: dict[str, Callable[[], object]],
    seconds: float = 2.0,
    least: int = 7,
    most: int = 101,
) -> dict[str, dict[str, float]]:
    """Seconds of each contestant, called in turn, in rounds that alternate in direction.

    After two calls to warm up there are as many rounds as fit into ``seconds``, but at least
    ``least`` and at most ``most``.
    """
    forth = list(contestants.items())
    for _, function in forth:
        function()
    start = time.perf_counter()
    for _, function in forth:
        function()
    one_round = time.perf_counter() - start
    rounds = min(most, max(least, int(seconds / one_round)))
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for k in range(rounds):
        for name, function in forth if k % 2 == 0 else reversed(forth):
            start = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - start)
    return {name: summary(of_one) for name, of_one in times.items()}


def _version(package: str) -> str | None:
    """None where it is not installed: what needs no other contestant runs without."""
    try:
        return str(import_module(package).__version__)
    except ImportError:
        return None


def save(path: Path, results: object) -> None:
    """Write results with the machine and the versions they were measured on."""
    whole = {
        "hardware": hardware(torch.device("cpu")),
        "cores": os.cpu_count(),
        "load_before": LOAD,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "kornia": _version("kornia"),
        "opencv": _version("cv2"),
        "spatial_transformer": stn.__version__,
        "commit": commit(),
        "results": results,
    }
    write_whole(path, lambda p: p.write_text(json.dumps(whole, indent=1) + "\n"))
    print(f"wrote {path}")
