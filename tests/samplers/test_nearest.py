"""Nearest copies values, of any dtype, from the pixels that the same map reads of an image."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import spatial_transformer as stn
from spatial_transformer.coordinates import base_grid
from spatial_transformer.ops.cpu import launch, load

BACKENDS = ["auto", "eager", "reference", "triton"]
INTEGERS = [
    *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.uint16, torch.uint32, torch.uint64),
]
FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]
FAMILIES = [n for n in stn.list_transforms() if n not in ("compose", "bounded")]


def places(size, dtype):
    """An image of a dtype whose values differ from pixel to pixel, as far as that can hold them."""
    count = math.prod(size)
    if dtype is torch.bool:
        return (torch.randperm(count) % 2).bool().reshape(1, 1, *size)
    most = 127 if dtype.itemsize == 1 else 255
    return (torch.arange(count) % most).to(dtype).reshape(1, 1, *size)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", INTEGERS + FLOATS, ids=str)
def test_the_issue(dtype, backend):
    image = torch.arange(6).view(1, 1, 1, 6).to(dtype)
    theta = torch.zeros(1, 2)
    out = stn.warp(image, theta, "translation", (1, 3), kernel="nearest", backend=backend)
    assert out.dtype == dtype
    assert torch.equal(out, torch.tensor([[[[1, 3, 5]]]]).to(dtype))


def exact_places(n, m):
    """Which of n pixels m regular ones read: floor(u + 1/2) in rational numbers."""
    u = [Fraction((2 * j + 1) * n, 2 * m) - Fraction(1, 2) for j in range(m)]
    return [math.floor(x + Fraction(1, 2)) for x in u]


@pytest.mark.parametrize("backend", BACKENDS[:3])
@pytest.mark.parametrize("family", ["affine", "thin_plate_spline", "displacement"])
def test_every_size_reads_the_pixels_that_fractions_tell(family, backend):
    transform = stn.make_transform(family)
    theta = transform.identity()[None]
    for n, m in [(224, 112), (30, 9), (456, 57), (7, 7), (10, 3), (1, 4), (5, 1), (99, 66)]:
        image = torch.arange(n).view(1, 1, 1, n)
        wanted = torch.tensor(exact_places(n, m))
        for some in (image, image.float(), image.double()):
            out = stn.warp(some, theta, transform, (1, m), kernel="nearest", backend=backend)
            assert torch.equal(out.flatten().long(), wanted), (n, m, some.dtype)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("family", FAMILIES)
def test_labels_are_read_at_the_pixels_of_their_image(family, dims):
    try:
        transform = stn.make_transform(family, dims=dims)
    except stn.SpatialTransformerError:
        pytest.skip(f"{family} has no {dims}-D")
    size, out = ((100, 64), (17, 50)) if dims == 2 else ((12, 9, 10), (6, 5, 5))
    thetas = transform.identity() + 0.1 * torch.randn(2, 1, transform.num_params) * torch.tensor(
        [[[0.0]], [[1.0]]]
    )
    for theta in thetas:
        where = places(size, torch.int32)
        for backend in ("auto", "eager", "reference") if dims == 2 else ("auto", "eager"):
            options = {"kernel": "nearest", "padding": "border", "backend": backend}
            seen = [
                stn.warp(where.to(dtype), theta, transform, out, **options).long()
                for dtype in (torch.float32, torch.float64, torch.int16, torch.int64, torch.float16)
            ]
            assert all(torch.equal(s, seen[0]) for s in seen[1:]), (family, backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_quarter_turn_reads_the_same_labels(backend):
    size, out = (
        ((100, 64), (17, 50)) if backend not in ("reference", "triton") else ((20, 16), (5, 10))
    )
    image = torch.arange(math.prod(size)).view(1, 1, *size)
    theta = torch.tensor([[0.0, -1.0, 0.0, 1.0, 0.0, 0.0]])
    options = {"kernel": "nearest", "backend": backend}
    labels = stn.warp(image, theta, "affine", out, **options)
    assert torch.equal(labels, stn.warp(image.float(), theta, "affine", out, **options).long())


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_value_survives(backend):
    most = torch.iinfo(torch.int64)
    image = torch.tensor([[[[most.max, most.min, 2**53 + 1, -1]]]])
    out = stn.warp(image, torch.zeros(1, 2), "translation", kernel="nearest", backend=backend)
    assert torch.equal(out, image)
    if backend != "reference":  # which adds up, and so knows one zero
        floats = torch.tensor([[[[-0.0, math.inf, -math.inf, 1e-45]]]])
        out = stn.warp(floats, torch.zeros(1, 2), "translation", kernel="nearest", backend=backend)
        assert torch.equal(out.view(torch.int32), floats.view(torch.int32))


@pytest.mark.parametrize("padding", ["zeros", "fill", "border", "reflection", "mirror", "wrap"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64, torch.bool])
def test_copies_equal_eager_beyond_the_image(dtype, padding):
    image = (torch.rand(3, 5, 7, 9) * 200).to(dtype)
    fill = torch.tensor([0, 1, 0, 1, 1]).to(dtype) if padding == "fill" else None
    grid = 2 * torch.randn(3, 5, 40, 2)
    bad = torch.tensor([math.nan, math.inf, -math.inf, 1e30, -1e30, 3e9])
    grid.view(-1)[::11] = bad.repeat(grid.numel())[: len(grid.view(-1)[::11])]
    for given in (image, image.to(memory_format=torch.channels_last)):
        for points in (grid, grid.double(), grid.half()):
            options = {"kernel": "nearest", "padding": padding, "fill": fill}
            ours = stn.sample(given, points, backend="cpu", **options)
            assert torch.equal(ours, stn.sample(given, points, backend="eager", **options))


def torch_nearest_case():
    """Random grids, of which some numbers are next to a half."""
    n = 456
    middle = torch.arange(n).double() + 0.5
    x = ((2 * middle - (n - 1)) / n).float()
    for _ in range(4):
        x = torch.nextafter(x, torch.tensor(-2.0))
    x = torch.cat([x, torch.rand(100_000) * 2 - 1, torch.tensor([(100.499954 - 227.5) / 228])])
    grid = torch.stack([x, torch.zeros_like(x)], dim=-1)[None, None]
    return torch.arange(float(n)).view(1, 1, 1, n), grid


@pytest.mark.parametrize("backend", ["auto", "eager"])
def test_a_half_is_told_from_its_neighbours_as_exactly_as_torch_does(backend):
    image, grid = torch_nearest_case()
    ours = stn.sample(image, grid, kernel="nearest", padding="border", backend=backend).flatten()
    theirs = F.grid_sample(image, grid, "nearest", "border", align_corners=False).flatten()
    u = grid[..., 0].double().flatten() * 228 + 227.5
    exact = torch.floor(u + 0.5).clamp(0, 455).float()
    assert ours[-1] == theirs[-1] == 100
    assert (ours != exact).sum() <= 2  # numbers that are the nearest to a half's
    assert (ours != exact).sum() <= (theirs != exact).sum()


@pytest.mark.parametrize("backend", ["auto", "eager", "triton"])
def test_a_float64_image_meets_a_float32_grid(backend):
    """Coordinates are as exact as what they were made in, whatever the image is."""
    sizes = range(8, 800) if backend != "triton" else (8, 13, 100)
    for n in sizes:
        image = torch.rand(1, 1, 1, n, dtype=torch.float64)
        grid = base_grid((1, n))[None]
        assert torch.equal(stn.sample(image, grid, backend=backend), image), n
        if n % 2 == 0:
            half = base_grid((1, n // 2))[None]
            read = stn.sample(image, half, kernel="nearest", backend=backend)
            assert torch.equal(read, image[..., 1::2]), n


@pytest.mark.skipif(load.LIBRARY is None, reason=f"no C++ backend: {load.WHY}")
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.bfloat16, torch.float64])
def test_the_bits_are_the_same_for_every_instruction_set_and_number_of_threads(dtype, monkeypatch):
    image = (torch.rand(2, 3, 200, 301) * 200).to(dtype)
    theta = stn.Affine().identity() + 0.3 * torch.randn(2, 6)
    found, threads = [], torch.get_num_threads()
    try:
        for level in range(3):
            for count in (1, 2, 3):
                monkeypatch.setattr(launch, "LEVEL", level)
                torch.set_num_threads(count)
                given = image.clone().requires_grad_(dtype.is_floating_point)
                out = stn.warp(given, theta, "affine", (150, 300), kernel="nearest", padding="wrap")
                grads = torch.autograd.grad(out.float().sum(), given) if given.requires_grad else ()
                found.append((out, *grads))
    finally:
        torch.set_num_threads(threads)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(other, found[0], strict=True))


@pytest.mark.parametrize("backend", ["cpu", "eager", "triton"])
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("channels_last", [False, True])
def test_gradients_count_the_copies(dtype, backend, channels_last):
    layout = torch.channels_last if channels_last else torch.contiguous_format
    image = torch.rand(2, 3, 4, 5, dtype=dtype).contiguous(memory_format=layout).requires_grad_()
    theta = torch.tensor([[1.0, 0, 0, 0, 1, 0]]).expand(4, 6).clone().requires_grad_()
    image_pairs = image.repeat_interleave(2, 0)
    out = stn.warp(image_pairs, theta, "affine", (8, 10), kernel="nearest", backend=backend)
    to_image, to_theta = torch.autograd.grad(out.float().sum(), (image, theta))
    assert torch.equal(to_image.float(), torch.full((2, 3, 4, 5), 8.0))
    assert torch.equal(to_theta, torch.zeros(4, 6))


def test_labels_take_no_more_memory_than_their_own():
    """Other sizes than these would be copies in a wider dtype."""
    labels = torch.randint(255, (1, 1, 512, 512), dtype=torch.uint8)
    with torch.profiler.profile(profile_memory=True) as profiler:
        stn.warp(labels, torch.zeros(1, 2), "translation", kernel="nearest")
    taken = sum(max(0, e.self_cpu_memory_usage) for e in profiler.events())
    assert taken < 1.1 * labels.numel()


def test_numpy_takes_the_same_pixels():
    image = np.random.default_rng(0).integers(0, 255, (37, 53), dtype=np.uint8)
    y, x = np.meshgrid(np.arange(12) * 3 + 1, np.arange(20) * 2 + 1, indexing="ij")
    grid = stn.grid_from_pixels(torch.from_numpy(np.stack([x, y], -1)).double()[None], (37, 53))
    ours = stn.sample(torch.from_numpy(image)[None, None], grid, kernel="nearest")
    assert np.array_equal(ours[0, 0].numpy(), image[y, x])
