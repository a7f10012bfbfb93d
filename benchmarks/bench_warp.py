"""The fused warp against PyTorch, torch.compile, kornia and OpenCV: time and memory.

    python -m benchmarks.bench_warp             writes results/benchmarks/warp.json
    python -m benchmarks.bench_warp --only "28->28" --seconds 0.2 --out warp.json

Shapes, steps and contestants are those of contestants.py; affine near the identity, bilinear,
zeros outside, align_corners=False, float32.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tools.benchmarks import advantage_lines, loss_lines

from benchmarks import memory
from benchmarks.contestants import CASES, STEPS, Case, backend_of_ours, check, contestants
from benchmarks.timing import THREADS, alternate, save, set_threads, warn_if_busy

OUT = Path("results/benchmarks/warp.json")


def measure(case: Case, step: str, threads: int, seconds: float, compiled: bool = True) -> Any:
    """One row a contestant: seconds of a step, median and interquartile range."""
    torch.compiler.reset()  # or it would give up after eight recompilations
    set_threads(threads)
    entrants = contestants(case, step, compiled)
    check(case, step, entrants)
    rows: list[dict[str, Any]] = []
    for name, times in alternate(entrants, seconds).items():
        row = {"shape": case.name, "step": step, "threads": threads, "name": name, **times}
        if name == "spatial_transformer":
            row["backend"] = backend_of_ours(case)
        rows.append(row)
    return rows


def show(rows: Sequence[dict[str, Any]]) -> str:
    """A line: whose medians, and how many times ours they are."""
    ours = next(r["median"] for r in rows if r["name"] == "spatial_transformer")
    first = rows[0]
    text = f"{first['threads']} threads  {first['shape']:28} {first['step']:8}"
    text += f" ours {1e3 * ours:8.2f} ms"
    for r in rows:
        if r["name"] != "spatial_transformer":
            text += f"  {r['name']} {r['median'] / ours:5.2f}x"
    return text


def run(
    cases: Sequence[Case],
    threads: Sequence[int] = THREADS,
    seconds: float = 2.0,
    compiled: bool = True,
) -> list[dict[str, Any]]:
    """All rows; prints each comparison, then the means and every loss."""
    rows: list[dict[str, Any]] = []
    for count in threads:
        for case in cases:
            for step in STEPS:
                found = measure(case, step, count, seconds, compiled)
                print(show(found), flush=True)
                rows += found
    print(*advantage_lines(rows), *loss_lines(rows), sep="\n")
    return rows


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parse.add_argument("--only", default="", help="the shapes whose name has this in it")
    parse.add_argument("--seconds", type=float, default=1.5, help="for each comparison, about")
    parse.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    parse.add_argument("--out", type=Path, default=OUT)
    options = parse.parse_args()
    warn_if_busy()
    torch.manual_seed(0)
    cases = [case for case in CASES if options.only in case.name]
    rows = run(cases, seconds=options.seconds, compiled=not options.no_compile)
    save(options.out, {"speed": rows, "memory": memory.measure_apart(not options.no_compile)})


if __name__ == "__main__":
    main()
