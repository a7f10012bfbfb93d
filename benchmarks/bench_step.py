"""What a transformer costs inside a network.

    python -m benchmarks.bench_step             writes results/benchmarks/step.json

1. The training step of ST-CNN (affine) on 42x42 RTS, as the training loop takes it: how much of it
   is grid and sampling, forward and backward. Twice: profiled, in the step itself, where little of
   it is in the processor's caches; and the same warp timed alone, with all Python around it.
2. ST-CNN Multi for 64x64 house numbers (appendix A.4) against the same CNN without transformers.
   The paper: 6 % slower.

Both with freed memory kept, as training has it.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile

from benchmarks.contestants import Case, contestants
from benchmarks.svhn import House, stir
from benchmarks.timing import THREADS, alternate, save, set_threads, summary, warn_if_busy
from spatial_transformer.experiments.models.build import build_model
from spatial_transformer.experiments.runner.config import RunConfig
from spatial_transformer.experiments.runner.run import open_fabric
from spatial_transformer.experiments.tables.table1.config import TABLE1
from spatial_transformer.experiments.training.loop import fit
from spatial_transformer.experiments.training.memory import keep_freed_memory
from spatial_transformer.experiments.training.progress import EvalResult

OUT = Path("results/benchmarks/step.json")
#: the batches of 64 that we train with, the 256 of the paper, and the narrow networks of the demo,
#: which the warp is more of
RECIPES_MEASURED = ("default", "paper", "demo")


class Clock:
    """A callback of the training loop that notes when each step ends."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def __enter__(self) -> "Clock":
        return self

    def __exit__(self, *_: object) -> None: ...

    def step(self, iteration: int, loss: float, error_percent: float) -> None:
        self.ends.append(time.perf_counter())

    def evaluated(self, iteration: int, part: str, measured: EvalResult) -> None: ...

    def seconds(self) -> list[float]:
        """Of each step but the first."""
        return [b - a for a, b in zip(self.ends, self.ends[1:], strict=False)]


def trainer(config: RunConfig) -> Callable[[int], Clock]:
    """A function that trains for so many steps, the loop itself, on one batch of random pixels."""
    model = build_model(config.model)
    stir(model)
    batch = config.recipe.batch_size
    images, labels = torch.rand(batch, *config.model.in_shape), torch.randint(10, (batch,))
    fabric = open_fabric("cpu", config.recipe.precision)

    def train(steps: int) -> Clock:
        clock = Clock()
        recipe = replace(config.recipe, iterations=steps)
        fit(fabric, model, lambda k: (images, labels), recipe, callbacks=[clock])
        return clock

    return train


def is_ours(name: str) -> bool:
    """Whether a profiled event is a fused operator or the node of its gradient."""
    return name.startswith("stn::") or ("evaluate_function" in name and "stn_" in name)


def outermost(events: list[FunctionEvent]) -> list[FunctionEvent]:
    """Our events that are not inside another of ours."""
    found = []
    for event in events:
        above = event.cpu_parent
        while above is not None and not is_ours(above.name):
            above = above.cpu_parent
        if is_ours(event.name) and above is None:
            found.append(event)
    return found


def profiled(train: Callable[[int], Clock], steps: int) -> tuple[float, dict[str, float]]:
    """Percent of the time of training in our operators, all inside them; and microseconds a step
    by their names."""
    train(2)
    with profile(activities=[ProfilerActivity.CPU]) as record:
        start = time.perf_counter()
        train(steps)
        whole = 1e6 * (time.perf_counter() - start)
    by_name: dict[str, float] = {}
    for event in outermost(list(record.events())):
        by_name[event.name] = by_name.get(event.name, 0.0) + event.cpu_time_total
    return 100 * sum(by_name.values()) / whole, {n: t / steps for n, t in by_name.items()}


def measure_rts(config: RunConfig, threads: int, steps: int, seconds: float) -> dict[str, Any]:
    """One row: the step, and what of it is the warp."""
    set_threads(threads)
    train = trainer(config)
    train(2)
    step = summary(train(steps + 1).seconds())
    percent, by_name = profiled(train, steps)
    channels, size, _ = config.model.in_shape
    case = Case(config.recipe.batch_size, channels, size, config.model.size or size)
    every = contestants(case, "theta", compiled=False)  # no gradient to the network's input
    warp: dict[str, Any] = alternate(
        {name: every[name] for name in ("spatial_transformer", "torch")}, seconds
    )
    ours = warp["spatial_transformer"]["median"]
    for found in warp.values():
        found["percent"] = 100 * found["median"] / (step["median"] - ours + found["median"])
    return {
        "threads": threads,
        "layout": "channels_last" if config.recipe.channels_last else "contiguous",
        "batch": config.recipe.batch_size,
        "step": step,
        "profiled_percent": percent,
        "profiled_microseconds": by_name,
        "warp": warp,
    }


def forward_of(model: nn.Module, image: Tensor) -> Callable[[], object]:
    """Classify, as in use: no gradients, no dropout."""

    def forward() -> Tensor:
        model.eval()
        with torch.no_grad():
            return model(image)

    return forward


def backward_of(model: nn.Module, image: Tensor) -> Callable[[], object]:
    """Forward and the gradients of all weights."""
    digits, classes = model(image).shape[1:]
    truth = torch.randint(classes, (len(image), digits))

    def backward() -> None:
        model.train()
        model.zero_grad()
        F.cross_entropy(model(image).flatten(0, 1), truth.flatten()).backward()

    return backward


def measure_svhn(
    threads: int, seconds: float, batch: int = 32, size: int = 64, **narrower: Any
) -> list[dict[str, Any]]:
    """Rows: layout, step, the times of both networks, and how many percent slower."""
    set_threads(threads)
    rows = []
    for layout in (torch.contiguous_format, torch.channels_last):
        networks = {
            "cnn": House(size=size, **narrower),
            "st_cnn_multi": House(4, size=size, **narrower),
        }
        stir(networks["st_cnn_multi"])
        image = torch.rand(batch, 3, size, size).contiguous(memory_format=layout)
        for network in networks.values():
            network.to(memory_format=layout)  # type: ignore[call-overload]
        for step, kind in {"forward": forward_of, "forward and backward": backward_of}.items():
            found = alternate({n: kind(m, image) for n, m in networks.items()}, seconds)
            slower = found["st_cnn_multi"]["median"] / found["cnn"]["median"] - 1
            rows.append(
                {
                    "threads": threads,
                    "layout": str(layout).removeprefix("torch.").removesuffix("_format"),
                    "batch": batch,
                    "step": step,
                    **found,
                    "percent_slower": 100 * slower,
                }
            )
    return rows


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parse.add_argument("--seconds", type=float, default=15.0, help="for each comparison, about")
    parse.add_argument("--steps", type=int, default=20, help="of training")
    parse.add_argument("--batch", type=int, default=32, help="of house numbers")
    parse.add_argument("--out", type=Path, default=OUT)
    options = parse.parse_args()
    warn_if_busy()
    keep_freed_memory()
    torch.manual_seed(0)
    rts: list[dict[str, Any]] = []
    svhn: list[dict[str, Any]] = []
    for threads in THREADS:
        for recipe in RECIPES_MEASURED:
            config = TABLE1.cell("rts", "st_cnn", recipe=recipe)
            row = measure_rts(config, threads, options.steps, min(2.0, options.seconds))
            timed = ", ".join(f"{n} {w['percent']:.2f} %" for n, w in row["warp"].items())
            print(
                f"{threads} threads  RTS, recipe {recipe}, step {1e3 * row['step']['median']:.1f} "
                f"ms, of which the warp: profiled {row['profiled_percent']:.2f} %, timed {timed}",
                flush=True,
            )
            rts.append({"recipe": recipe, **row})
    for row in measure_svhn(max(THREADS), options.seconds, options.batch):
        print(
            f"{row['threads']} threads  house numbers, {row['layout']}, {row['step']}: "
            f"{row['percent_slower']:+.1f} %"
        )
        svhn.append(row)
    save(options.out, {"rts": rts, "svhn": svhn})


if __name__ == "__main__":
    main()
