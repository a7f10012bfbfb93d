"""How far ONNX Runtime is from us for every transform, sampler and padding, in 2-D and 3-D.

A warp's graph is that of its grid, followed by that of its sampler. Each transform's grid and each
sampler under each padding is exported once, with dynamic sizes where it can be; for a pair the two
run one after the other on real digits, against `stn.warp`. Thetas are the identity's plus noise.

    python -m benchmarks.export_pairs       writes results/benchmarks/export.json; half an hour
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tools.benchmarks import load_results
from torch import Tensor, nn

import spatial_transformer as stn
from benchmarks.timing import save
from spatial_transformer.errors import ExportError
from spatial_transformer.experiments.data.dataset import load_digits
from spatial_transformer.export import export_onnx
from spatial_transformer.export.warp import AXES
from spatial_transformer.names import KernelName, PaddingName
from spatial_transformer.samplers.padding import PADDINGS
from spatial_transformer.transforms import Transform

OUT = Path("results/benchmarks/export.json")
FILL = 0.3
DIGITS = 8

#: an exported graph on numbers, or why there is none
Graph = Callable[..., np.ndarray] | str

#: dims -> sampler -> padding -> transform -> largest difference, or why there is none
Found = dict[str, dict[str, dict[str, dict[str, float | str]]]]


class Grid(nn.Module):
    """theta -> the grid of an image's size."""

    def __init__(self, transform: Transform) -> None:
        super().__init__()
        self.transform = transform

    def forward(self, image: Tensor, theta: Tensor) -> Tensor:
        return self.transform.grid(theta, image.shape[2:])


class Sample(nn.Module):
    """(image, grid) -> image."""

    def __init__(self, kernel: KernelName, padding: PaddingName) -> None:
        super().__init__()
        self.sampler = stn.make_sampler(kernel, **options(padding))

    def forward(self, image: Tensor, grid: Tensor) -> Tensor:
        return self.sampler(image, grid)


def options(padding: str) -> dict[str, Any]:
    return {"padding": padding, "fill": FILL if padding == "fill" else None}


def exported(module: nn.Module, image: Tensor, other: Tensor, name: str, size: bool) -> Graph:
    """The graph of a module of (image, other), sizes dynamic if it may be."""
    import onnxruntime

    both = {0: "batch"}
    spatial = dict(enumerate(AXES[image.dim() - 2], 2))
    axes = {"image": both | {1: "channels"} | (spatial if size else {}), name: dict(both)}
    if size and name == "grid":
        axes["grid"] |= {k - 1: f"output_{n}" for k, n in spatial.items()}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "graph.onnx"
        try:
            export_onnx(module, file, [image, other], dynamic=axes)
        except ExportError as error:
            if size and "for a fixed size" in str(error):
                return exported(module, image, other, name, size=False)
            return str(error)
        session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    names = [i.name for i in session.get_inputs()]

    def run(*inputs: Tensor) -> np.ndarray:
        feed = {n: t.numpy() for n, t in zip(("image", name), inputs, strict=True) if n in names}
        found: np.ndarray = session.run(None, feed)[0]
        return found

    return run


def example(dims: int) -> Tensor:
    """Digits (B, 2, 28, 28), or smaller ones in a stack: (B, 2, 9, 14, 14)."""
    digits, _ = load_digits("test").take(torch.arange(2 * DIGITS))
    digits = digits.reshape(DIGITS, 2, 28, 28)
    return digits if dims == 2 else digits[:, :, None, ::2, ::2].repeat(1, 1, 9, 1, 1)


def transforms(dims: int) -> list[Transform]:
    every = [stn.make_transform(name) for name in stn.list_transforms()]
    kept = [t for t in every if dims in t.supported_dims]
    return [type(t)(dims=dims) for t in kept] if dims == 3 else kept


def measure(dims: int, found: Found) -> None:
    """Fill in what is missing of ``found[dims]``, writing after every sampler and padding."""
    image = example(dims)
    source = torch.Generator().manual_seed(0)
    here = found.setdefault(str(dims), {})
    todo = [
        (k, p) for k in stn.list_samplers() for p in PADDINGS if p not in here.setdefault(k, {})
    ]
    if not todo:
        return
    families = transforms(dims)
    thetas, grids = {}, {}
    for transform in families:
        noise = torch.randn(DIGITS, transform.num_params, generator=source)
        theta = thetas[transform.name] = transform.identity() + 0.1 * noise
        grids[transform.name] = exported(Grid(transform), image, theta, "theta", size=True)
        print(dims, transform.name, flush=True)
    for kernel, padding in todo:
        grid = families[0].grid(thetas[families[0].name], image.shape[2:])
        sampler = exported(Sample(kernel, padding), image, grid, "grid", size=True)
        cell: dict[str, float | str] = {}
        for transform in families:
            name = transform.name
            first, theta = grids[name], thetas[name]
            if isinstance(first, str) or isinstance(sampler, str):
                cell[name] = first if isinstance(first, str) else str(sampler)
                continue
            theirs = sampler(image, torch.from_numpy(first(image, theta)))
            ours = stn.warp(image, theta, transform, kernel=kernel, **options(padding))
            cell[name] = float(np.abs(theirs - ours.numpy()).max())
        here[kernel][padding] = cell
        print(dims, kernel, padding, cell, flush=True)
        save(OUT, found)


def main() -> None:
    found: Found = load_results(OUT) if OUT.is_file() else {}
    cells = [cell for by_padding in found.get("3", {}).values() for cell in by_padding.values()]
    if len(cells) == len(stn.list_samplers()) * len(PADDINGS):
        found = {}  # all there: anew; else it goes on where it was stopped
    for dims in (2, 3):
        measure(dims, found)


if __name__ == "__main__":
    main()
