"""How everything is timed: side by side in one process, alternating, median and spread."""

import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from spatial_transformer.files import write_whole
from spatial_transformer.training.records import commit, hardware


def alternate(
    contestants: dict[str, Callable[[], object]], repeats: int = 15
) -> dict[str, dict[str, float]]:
    """Seconds of each contestant, called in turn: median and interquartile range."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for function in contestants.values():  # warm up
        function()
    for _ in range(repeats):
        for name, function in contestants.items():
            start = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - start)
    out = {}
    for name, times in seconds.items():
        low, _, high = statistics.quantiles(times, n=4)
        out[name] = {"median": statistics.median(times), "iqr": high - low}
    return out


def save(path: Path, results: object) -> None:
    """Write results with the machine and the versions they were measured on."""
    whole = {
        "hardware": hardware(torch.device("cpu")),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "commit": commit(),
        "results": results,
    }
    write_whole(path, lambda p: p.write_text(json.dumps(whole, indent=2) + "\n"))
    print(f"wrote {path}")
