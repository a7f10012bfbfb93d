"""Calls of the Triton backend, and what others make of them."""

import importlib
import math

import pytest
import torch

from spatial_transformer.ops import triton as package
from spatial_transformer.samplers import as_kernel
from spatial_transformer.samplers.eager import sample_eager
from spatial_transformer.transforms.matrix import grid_from_matrix

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


KERNELS = ("nearest", "bilinear", "bicubic")


def choose(patch):
    """Have the interpreter where there is no GPU; for these tests alone, whatever comes after."""
    if DEVICE == "cpu":
        patch.setenv("TRITON_INTERPRET", "1")


def load():
    """While Triton and the kernels are imported it is settled whether they are interpreted."""
    with pytest.MonkeyPatch.context() as patch:
        choose(patch)
        pytest.importorskip("triton")
        for name in ("forward", "backward"):
            importlib.import_module(f"{package.__name__}.{name}")
        return importlib.import_module(f"{package.__name__}.launch")


launch = load()


ENOUGH = launch.ENOUGH


if DEVICE == "cpu":  # the interpreter's programs run one after the other
    launch.ENOUGH = 1


def forward(launch, image, maps, size, *options, grid):
    return launch.bind(image, maps, tuple(size), *options, grid=grid)(image, maps, options[2])


def random(*shape, dtype=torch.float64):
    """Of the same seed on every device."""
    return torch.rand(*shape, dtype=torch.float64).to(DEVICE, dtype)


def matrices(batch, dims, kind="affine", spread=0.5, dtype=torch.float64):
    square = torch.eye(dims + 1, dtype=torch.float64).repeat(batch, 1, 1)
    square += spread * torch.randn(batch, dims + 1, dims + 1, dtype=torch.float64)
    if kind == "affine":
        square = square[:, :dims]
    return square.to(DEVICE, dtype)


def fill_for(padding, image, batch=1):
    """What is read outside, and with any padding where a coordinate is not finite."""
    if padding in ("zeros", "border"):
        return None
    return torch.randn(batch, image.shape[1], 1, dtype=torch.float64).to(image)


def eager(image, maps, size, kernel, padding, fill, align_corners, *, grid):
    if not grid:
        maps = grid_from_matrix(maps, size, align_corners)
    batch = max(len(image), len(maps))
    image, maps = (t.repeat_interleave(batch // len(t), 0) for t in (image, maps))
    if fill is not None:
        fill = fill.repeat_interleave(batch // len(fill), 0)
    return sample_eager(image, maps, as_kernel(kernel), padding, fill, align_corners)


def gradients(out, weight, *inputs):
    return torch.autograd.grad((out * weight).sum(), inputs)


def both(image, maps, size, *options, grid=False, tolerance=1e-10):
    """Output and gradients equal eager's and autograd's; returns ours and the weight."""
    leaves = image.detach().requires_grad_(), maps.detach().requires_grad_()
    wanted = eager(*leaves, size, *options, grid=grid)
    weight = torch.randn(wanted.shape, dtype=torch.float64).to(wanted)
    wanted = (wanted, *gradients(wanted, weight, *leaves))
    out = forward(launch, image, maps, size, *options, grid=grid)
    more = {"grid": grid, "needs_image_grad": True, "needs_map_grad": True}
    ours = (out, *launch.backward(weight, image, maps, *options, **more))
    for a, b in zip(ours, wanted, strict=True):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        scale = max(1.0, b.abs().max().item())
        torch.testing.assert_close(a, b, rtol=0, atol=tolerance * scale)
    return ours, weight


SHAPES = [  # batch, channels, input, output
    (2, 1, (1, 1), (3, 3)),
    (1, 3, (5, 123), (5, 40)),
    (3, 2, (7, 3), (1, 1)),
    (1, 5, (3, 9), (4, 2)),
    (1, 1, (1, 50), (20, 17)),
]


BAD = [math.nan, math.inf, -math.inf, 1e30, -1e30, 3e38, 2.0**31, -(2.0**40)]


def guarded(image, guard=300):
    """The same image among NaNs: what is read out of bounds is seen."""
    memory = torch.full((image.numel() + 2 * guard,), torch.nan).to(image)
    inner = memory[guard:-guard].view(image.shape)
    return inner.copy_(image)
