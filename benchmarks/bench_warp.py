"""The fused warp against ``F.affine_grid`` + ``F.grid_sample``: forward, theta-only and full steps.

python -m benchmarks.bench_warp             writes results/benchmarks/warp.json
"""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

import spatial_transformer as stn
from benchmarks.timing import alternate, save

AFFINE = stn.Affine()
# batch, channels, input, output (squares)
SHAPES = [(256, 1, 28, 28), (256, 1, 28, 42), (256, 1, 60, 30), (64, 48, 32, 32), (16, 3, 448, 224)]


def with_torch(image: Tensor, theta: Tensor, out: int) -> Tensor:
    size = [len(theta), image.shape[1], out, out]
    grid = F.affine_grid(theta.unflatten(1, (2, 3)), size, align_corners=False)
    return F.grid_sample(image, grid, align_corners=False)


def with_ours(image: Tensor, theta: Tensor, out: int) -> Tensor:
    return stn.warp(image, theta, AFFINE, out, backend="cpu")


def step_of(
    warp: Callable[..., Tensor], inputs: tuple[Tensor, Tensor], out: int, weight: Tensor
) -> object:
    """One forward pass and the gradients to what wants them."""
    warped = warp(*inputs, out)
    leaves = [x for x in inputs if x.requires_grad]
    return torch.autograd.grad(warped, leaves, weight) if leaves else warped


def measure(shape: tuple[int, int, int, int], repeats: int = 25) -> dict[str, dict[str, float]]:
    """Milliseconds of both and the ratio, for each of the three kinds of step."""
    batch, channels, size, out = shape
    image = torch.rand(batch, channels, size, size)
    theta = AFFINE.identity() + 0.2 * torch.randn(batch, 6)
    weight = torch.randn(batch, channels, out, out)
    results = {}
    for step, wanted in {"forward": "", "theta": "t", "full": "it"}.items():
        inputs = (
            image.clone().requires_grad_("i" in wanted),
            theta.clone().requires_grad_("t" in wanted),
        )
        contestants = {
            name: partial(step_of, warp, inputs, out, weight)
            for name, warp in {"torch": with_torch, "ours": with_ours}.items()
        }
        times = alternate(contestants, repeats)
        ms = {name: 1e3 * t["median"] for name, t in times.items()}
        results[step] = {**ms, "ratio": ms["torch"] / ms["ours"]}
    return results


def main() -> None:
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    everything = []
    for count in sorted({1, threads}):
        torch.set_num_threads(count)
        found = {"{}x{}x{}->{}".format(*shape): measure(shape) for shape in SHAPES}
        for shape, steps in found.items():
            line = "  ".join(
                f"{step} {t['ours']:8.2f} ms {t['ratio']:5.1f}x" for step, t in steps.items()
            )
            print(f"{count} threads  {shape:16}  {line}")
        for step in ("forward", "theta", "full"):
            ratios = [steps[step]["ratio"] for steps in found.values()]
            mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
            print(f"{count} threads  {step}: geometric mean {mean:.1f}x, least {min(ratios):.1f}x")
        everything.append({"threads": count, "shapes": found})
    save(Path("results/benchmarks/warp.json"), everything)


if __name__ == "__main__":
    main()
