"""The Triton warp against ``F.affine_grid`` + ``F.grid_sample`` on a GPU: forward, theta-only and
full steps; and how much of the bandwidth of a copy the forward kernel reaches.

python -m benchmarks.bench_triton           writes results/benchmarks/triton.json

Steps are timed as a training loop runs them, the launches included. The bandwidth is that of the
kernel alone, replayed from a CUDA graph over so many images that they cannot stay in the cache.
"""

import math
import statistics
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.timing import save
from spatial_transformer.ops.triton import available, launch

# batch, channels, input, output (squares and cubes: sides), dimensions, channels_last
SHAPES = [
    (256, 1, 28, 28, 2, False),
    (256, 1, 40, 40, 2, False),
    (256, 1, 60, 30, 2, False),
    (64, 48, 32, 32, 2, False),
    (64, 48, 32, 32, 2, True),
    (32, 64, 56, 28, 2, False),
    (32, 64, 56, 28, 2, True),
    (16, 3, 448, 224, 2, False),
    (8, 3, 512, 512, 2, False),
    (1, 3, 1024, 1024, 2, False),
    (4, 1, 96, 96, 3, False),
]
OPTIONS: tuple[Any, ...] = ("bilinear", "zeros", None, False)
CACHE = 256 * 2**20  # bytes that are more than any cache holds
Call = Callable[[], object]


def _forward(image: Tensor, matrix: Tensor, size: tuple[int, ...]) -> Tensor:
    warped: Tensor = launch.bind(image, matrix, size, *OPTIONS, grid=False)(image, matrix, None)
    return warped


class Ours(torch.autograd.Function):
    """As the operator does it, so that both pay for autograd."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, matrix: Tensor, size: tuple[int, ...]) -> Tensor:
        ctx.save_for_backward(image, matrix)
        return _forward(image, matrix, size)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        needs_image_grad, needs_map_grad, _ = ctx.needs_input_grad
        image, matrix = ctx.saved_tensors
        wanted = {"needs_image_grad": needs_image_grad, "needs_map_grad": needs_map_grad}
        return *launch.backward(grads[0], image, matrix, *OPTIONS, grid=False, **wanted), None


def with_torch(image: Tensor, matrix: Tensor, size: tuple[int, ...]) -> Tensor:
    grid = F.affine_grid(matrix, [len(matrix), image.shape[1], *size], align_corners=False)
    return F.grid_sample(image, grid, align_corners=False)


def ours(image: Tensor, matrix: Tensor, size: tuple[int, ...]) -> Tensor:
    apply: Any = Ours.apply
    return apply(image, matrix, size)


CONTESTANTS: dict[str, Callable[[Tensor, Tensor, tuple[int, ...]], Tensor]] = {
    "torch": with_torch,
    "ours": ours,
}


def inputs_of(
    shape: tuple[int, int, int, int, int, bool], device: str = "cuda"
) -> tuple[Tensor, Tensor, tuple[int, ...]]:
    """Image, matrices near the identity, and the output's size."""
    batch, channels, side, out, dims, last = shape
    image = torch.rand(batch, channels, *[side] * dims, device=device)
    if last:
        image = image.contiguous(memory_format=torch.channels_last)
    matrix = torch.eye(dims, dims + 1) + 0.2 * torch.randn(batch, dims, dims + 1)
    return image, matrix.to(device), (out,) * dims


def step_of(
    warp: Callable[..., Tensor], inputs: tuple[Any, ...], wanted: list[Tensor], weight: Tensor
) -> object:
    """One forward pass and the gradients to what wants them."""
    warped = warp(*inputs)
    return torch.autograd.grad(warped, wanted, weight) if wanted else warped


def summary(milliseconds: list[float]) -> dict[str, float]:
    low, _, high = statistics.quantiles(milliseconds, n=4)
    return {"median": statistics.median(milliseconds), "iqr": high - low}


def elapsed(function: Call, calls: int) -> float:
    """Milliseconds a call, of some in a row."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(calls):
        function()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / calls


def alternate(contestants: dict[str, Call], repeats: int = 25, calls: int = 20) -> dict[str, Any]:
    """Milliseconds of each, timed in turn."""
    for function in contestants.values():
        elapsed(function, 5)  # compiles
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(repeats):
        for name, function in contestants.items():
            times[name].append(elapsed(function, calls))
    return {name: summary(t) for name, t in times.items()}


def recorded(calls: list[Call]) -> Call:
    """The calls as one CUDA graph."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for call in calls:
            call()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = [call() for call in calls]  # a place of its own for each: none stays in the cache

    def replay() -> object:
        graph.replay()
        return results

    return replay


def copy_bandwidth() -> float:
    """GB/s of a copy of 1 GiB, read and written."""
    source = torch.rand(2**28, device="cuda")
    target = torch.empty_like(source)
    times = [elapsed(lambda: target.copy_(source), 10) for _ in range(10)]
    return 2 * source.nbytes / statistics.median(times) / 1e6


def bytes_moved(image: Tensor, size: tuple[int, ...]) -> int:
    """The least a forward pass moves: the image read once, the output written once."""
    return image.nbytes + image.shape[0] * image.shape[1] * math.prod(size) * image.itemsize


def kernel_time(shape: tuple[int, int, int, int, int, bool], repeats: int = 25) -> dict[str, float]:
    """Milliseconds of the forward kernel alone, each launch with another image."""
    image, _, size = inputs_of(shape)
    count = max(2, min(128, math.ceil(2 * CACHE / bytes_moved(image, size))))
    many = [inputs_of(shape)[:2] for _ in range(count)]
    calls = [partial(_forward, *pair, size) for pair in many]
    replay = recorded(calls)  # type: ignore[arg-type]
    return summary([elapsed(replay, 3) / count for _ in range(repeats)])


def measure(shape: tuple[int, int, int, int, int, bool], copy: float) -> dict[str, Any]:
    """Both contestants' milliseconds and their ratio for the three kinds of step, and bandwidth."""
    image, matrix, size = inputs_of(shape)
    # laid out as the image is, as the layer after it would have it
    weight = torch.randn_like(ours(image, matrix, size))
    results: dict[str, Any] = {}
    for step, wanted in {"forward": "", "theta": "t", "full": "it"}.items():
        leaves = (
            image.clone().requires_grad_("i" in wanted),
            matrix.clone().requires_grad_("t" in wanted),
        )
        asked = [x for x in leaves if x.requires_grad]
        times = alternate(
            {
                name: partial(step_of, warp, (*leaves, size), asked, weight)
                for name, warp in CONTESTANTS.items()
            }
        )
        results[step] = {**times, "ratio": times["torch"]["median"] / times["ours"]["median"]}
    kernel = kernel_time(shape)
    speed = bytes_moved(image, size) / kernel["median"] / 1e6
    results["kernel"] = {**kernel, "GB/s": speed, "of_copy": speed / copy}
    return results


def name_of(shape: tuple[int, int, int, int, int, bool]) -> str:
    batch, channels, side, out, dims, last = shape
    power = "^3" if dims == 3 else ""
    return f"{batch}x{channels}x{side}{power}->{out}{power}" + (" channels_last" if last else "")


def main() -> None:
    able, why = available()
    if not able or not torch.cuda.is_available():
        sys.exit(f"no GPU to measure on: {why}")
    import triton

    torch.manual_seed(0)
    copy = copy_bandwidth()
    found = {}
    for shape in SHAPES:
        found[name_of(shape)] = one = measure(shape, copy)
        line = "  ".join(
            f"{step} {one[step]['ours']['median']:.4f} ms {one[step]['ratio']:.1f}x"
            for step in ("forward", "theta", "full")
        )
        print(f"{name_of(shape):28}  {line}  kernel {one['kernel']['of_copy']:.0%} of a copy")
    for step in ("forward", "theta", "full"):
        ratios = [one[step]["ratio"] for one in found.values()]
        mean = math.exp(statistics.fmean(map(math.log, ratios)))
        print(f"{step}: geometric mean {mean:.1f}x, least {min(ratios):.1f}x")
    results = {
        "gpu": torch.cuda.get_device_name(),
        "triton": triton.__version__,
        "copy_GB/s": copy,
        "milliseconds": found,
    }
    save(Path("results/benchmarks/triton.json"), results)


if __name__ == "__main__":
    main()
