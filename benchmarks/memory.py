"""The peak of memory in a step beyond its inputs and results, as the kernel of the OS counts it.

    python -m benchmarks.memory                 prints JSON

One input, outputs of growing size. The peak of the resident set (reset before each step, Linux
only) sees whatever is allocated by whomever, C++ included. It is measured in a process of its own
in which malloc gives every large block back at once (``measure_apart``); blocks below 64 kB are not
seen.
"""

import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from benchmarks.contestants import STEPS, Case, contestants
from benchmarks.timing import THREADS, set_threads

OUTPUTS = (128, 256, 512)
#: the environment of a process in which every large block is given back at once
GIVE_BACK = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}


def growing(outputs: Sequence[int] = OUTPUTS) -> list[Case]:
    """One input, in both layouts, and its outputs."""
    return [
        Case(8, 3, 256, out, channels_last=layout) for layout in (False, True) for out in outputs
    ]


def resident(which: str) -> int:
    """VmRSS (now) or VmHWM (the highest since the last reset), in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(which + ":"):
            return 1024 * int(line.split()[1])
    raise OSError(f"no {which} in /proc/self/status")


def extra(function: Callable[[], object]) -> int:
    """Bytes at the peak of a call beyond what was there before and what it returns."""
    function()
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
    before = resident("VmRSS")
    result = function()
    peak = resident("VmHWM")
    made = result if isinstance(result, tuple) else (result,)
    return max(0, peak - before - sum(x.nbytes for x in made))


def measure(cases: Sequence[Case], compiled: bool = True) -> list[dict[str, object]]:
    """One row a contestant, step and case."""
    rows: list[dict[str, object]] = []
    for case in cases:
        for step in STEPS:
            torch.compiler.reset()
            for name, function in contestants(case, step, compiled).items():
                rows.append(
                    {
                        "shape": case.name,
                        "step": step,
                        "name": name,
                        "output_pixels": case.batch * case.out**case.dims,
                        "extra_bytes": extra(function),
                    }
                )
    return rows


def measure_apart(compiled: bool = True) -> list[dict[str, object]]:
    """``measure(growing())`` in a fresh process; nothing where the system does not count peaks."""
    if not Path("/proc/self/clear_refs").exists():
        print("memory is not measured: there is no /proc/self/clear_refs")
        return []
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory", *([] if compiled else ["--no-compile"])],
        env={**os.environ, **GIVE_BACK},
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    rows: list[dict[str, object]] = json.loads(done.stdout)
    return rows


if __name__ == "__main__":
    set_threads(max(THREADS))
    print(json.dumps(measure(growing(), "--no-compile" not in sys.argv)))
