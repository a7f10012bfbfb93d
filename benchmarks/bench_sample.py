"""Reading at a grid that is given, against torch's grid_sample, and what one small call costs.

    python -m benchmarks.bench_sample           writes results/benchmarks/sample.json

Rotated grids, align_corners=False, float32, forward alone.
"""

import argparse
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from tools.benchmarks import OURS, loss_lines
from torch import Tensor

import spatial_transformer as stn
from benchmarks.timing import THREADS, alternate, save, set_threads, warn_if_busy
from spatial_transformer.names import KernelName, PaddingName

OUT = Path("results/benchmarks/sample.json")
KERNELS: tuple[KernelName, ...] = ("nearest", "bilinear", "bicubic")
PADDINGS: tuple[PaddingName, ...] = ("zeros", "border", "reflection")  # that torch has too


def sampled(
    image: Tensor, grid: Tensor, kernel: KernelName, padding: PaddingName
) -> dict[str, Callable[[], Tensor]]:
    """One call of each reads the same."""
    return {
        OURS: lambda: stn.sample(image, grid, kernel=kernel, padding=padding),
        "torch": lambda: F.grid_sample(image, grid, kernel, padding, align_corners=False),
    }


def warped(image: Tensor, theta: Tensor) -> dict[str, Callable[[], Tensor]]:
    """The same of an affine warp."""

    def with_torch() -> Tensor:
        grid = F.affine_grid(theta.view(-1, 2, 3), list(image.shape), align_corners=False)
        return F.grid_sample(image, grid, align_corners=False)

    return {OURS: lambda: stn.warp(image, theta, "affine"), "torch": with_torch}


def cases(batch: int, channels: int, size: int) -> dict[str, dict[str, Callable[[], Tensor]]]:
    """The comparisons by name, such as ``sample 8x3x256 nearest border``."""
    image = torch.rand(batch, channels, size, size)
    theta = torch.tensor([[0.8, -0.6, 0.1, 0.6, 0.8, -0.1]]).repeat(batch, 1)
    grid = stn.Affine().grid(theta, (size, size))
    shape = f"{batch}x{channels}x{size}"
    found = {
        f"sample {shape} {kernel} {padding}": sampled(image, grid, kernel, padding)
        for kernel, padding in product(KERNELS, PADDINGS)
    }
    return found | {f"warp {shape} bilinear zeros": warped(image, theta)}


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parse.add_argument("--seconds", type=float, default=1.0, help="for each comparison, about")
    parse.add_argument("--size", type=int, default=256, help="pixels of the large images' sides")
    parse.add_argument("--out", type=Path, default=OUT)
    options = parse.parse_args()
    warn_if_busy()
    torch.manual_seed(0)
    rows: list[dict[str, Any]] = []
    for threads in THREADS:
        set_threads(threads)
        for name, entrants in (cases(8, 3, options.size) | cases(1, 1, 8)).items():
            ours, theirs = (f() for f in entrants.values())
            if (ours - theirs).abs().mean() > 1e-2:  # halves go otherwise, for one
                raise RuntimeError(f"{name}: they differ")
            for who, times in alternate({**entrants}, options.seconds, most=2001).items():
                row = {"shape": name, "step": "forward", "threads": threads, "name": who}
                rows.append(row | times)
    print(*loss_lines(rows), sep="\n")
    save(options.out, {"speed": rows})


if __name__ == "__main__":
    main()
