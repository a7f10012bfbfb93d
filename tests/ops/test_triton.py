"""The Triton kernels against eager, the float64 oracle and torch; determinism; safety.

They run on a GPU where there is one, and in Triton's interpreter where there is none.
"""

import importlib
import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F

import spatial_transformer as stn
from spatial_transformer.ops import triton as package
from spatial_transformer.ops.reference import sample_reference
from spatial_transformer.samplers import as_kernel
from spatial_transformer.samplers.eager import sample_eager
from spatial_transformer.samplers.padding import PADDINGS
from spatial_transformer.transforms.matrix import grid_from_matrix

pytestmark = pytest.mark.slow  # the interpreter is

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


@pytest.fixture(autouse=True)
def _interpreted(monkeypatch):
    choose(monkeypatch)


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


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize(
    ("kernel", "align_corners"),
    [
        *(("nearest", False), ("nearest", True), ("bilinear", False), ("bilinear", True)),
        ("bicubic", True),  # False is with the grids
    ],
)
def test_matrices_equal_eager_in_float64(kernel, align_corners, padding):
    image, maps = random(1, 2, 5, 4), matrices(1, 2)
    both(image, maps, (9, 8), kernel, padding, fill_for(padding, image), align_corners)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("kernel", KERNELS)
def test_grids_equal_eager_in_float64(kernel, padding):
    image = random(1, 2, 4, 5)
    grid = grid_from_matrix(matrices(1, 2), (3, 6), False) + 0.1 * random(1, 3, 6, 2)
    # as a network makes them: coordinates first
    grid = grid.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
    align = kernel == "bilinear"
    both(image, grid, (3, 6), kernel, padding, fill_for(padding, image), align, grid=True)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("padding", PADDINGS)
def test_projective_maps_equal_eager_in_float64(padding, align_corners):
    image = random(1, 2, 5, 6)
    maps = matrices(1, 2, "projective", spread=0.4)
    maps[:, 2, :2] += 1.5  # so that the horizon crosses the output
    grid = grid_from_matrix(maps, (5, 7), align_corners)
    assert grid.isinf().any()
    assert grid.isfinite().any()
    fill = fill_for(padding, image)
    both(image, maps, (5, 7), "bilinear", padding, fill, align_corners)


@pytest.mark.parametrize("grid", [False, True], ids=["matrix", "grid"])
@pytest.mark.parametrize("padding", PADDINGS)
def test_volumes_equal_eager_in_float64(padding, grid):
    image, maps = random(1, 1, 3, 4, 2), matrices(1, 3, spread=0.4)
    size = (2, 3, 4) if padding == "fill" else (1, 4, 5)
    align = padding in ("zeros", "fill", "border", "wrap") or grid
    if grid:
        maps = grid_from_matrix(maps, size, align)
    both(image, maps, size, "bilinear", padding, fill_for(padding, image), align, grid=grid)


@pytest.mark.parametrize("kernel", ["nearest", "bicubic"])
@pytest.mark.parametrize("padding", ["fill", "reflection"])
def test_volumes_with_other_kernels(kernel, padding):
    image, maps = random(1, 1, 4, 3, 5), matrices(1, 3, spread=0.3)
    both(image, maps, (1, 3, 4), kernel, padding, fill_for(padding, image), False)


@pytest.mark.parametrize("padding", PADDINGS)
def test_equals_the_oracle(padding):
    image, grid = random(1, 2, 4, 5).requires_grad_(), 3 * torch.randn(1, 3, 4, 2).to(DEVICE)
    grid = grid.double().requires_grad_()
    fill = fill_for(padding, image)
    options = ("bilinear", padding, fill, False)
    wanted = sample_reference(image, grid, *options)
    weight = torch.randn_like(wanted)
    wanted = (wanted, *gradients(wanted, weight, image, grid))
    image, grid = image.detach(), grid.detach()
    out = forward(launch, image, grid, (3, 4), *options, grid=True)
    more = {"grid": True, "needs_image_grad": True, "needs_map_grad": True}
    ours = (out, *launch.backward(weight, image, grid, *options, **more))
    for a, b in zip(ours, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-10)


SHAPES = [  # batch, channels, input, output
    (2, 1, (1, 1), (3, 3)),
    (1, 3, (5, 123), (5, 40)),
    (3, 2, (7, 3), (1, 1)),
    (1, 5, (3, 9), (4, 2)),
    (1, 1, (1, 50), (20, 17)),
]


@pytest.mark.parametrize("padding", ["zeros", "reflection"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_odd_shapes(shape, padding):
    batch, channels, size, out = shape
    both(random(batch, channels, *size), matrices(batch, 2), out, "bilinear", padding, None, True)


@pytest.mark.parametrize("counts", [(1, 2, 2), (4, 2, 1), (2, 1, 1)])
@pytest.mark.parametrize("grid", [False, True], ids=["matrix", "grid"])
def test_consecutive_outputs_share_images_maps_and_fills(counts, grid):
    images, count, fills = counts
    image, maps = random(images, 2, 3, 4), matrices(count, 2)
    if grid:
        maps = grid_from_matrix(maps, (3, 2), False)
    fill = fill_for("fill", image, fills)
    both(image, maps, (3, 2), "bilinear", "fill", fill, False, grid=grid)


@pytest.fixture
def replanned(monkeypatch):
    """Patches what plans are made of; none is kept from before or for later."""
    launch.plan.cache_clear()
    launch.tile_config.cache_clear()
    yield monkeypatch
    monkeypatch.undo()
    launch.plan.cache_clear()
    launch.tile_config.cache_clear()


def test_channels_are_shared_out_over_programs(replanned):
    """However the work is cut, it is the same."""
    image, maps = random(1, 5, 4, 5), matrices(1, 2)
    for enough, chunks in ((1, (1, 5)), (3, (3, 2)), (ENOUGH, (5, 1))):
        replanned.setattr(launch, "ENOUGH", enough)
        launch.plan.cache_clear()
        launch.tile_config.cache_clear()
        both(image, maps, (4, 9), "bilinear", "border", None, False)
        cut = launch.tile_config(1, 5, (4, 9), 512, False, False)
        assert (cut.chunks, cut.chunk, cut.block_c) == (*chunks, 1)


def test_cuts_cover_every_pixel_and_channel(replanned):
    replanned.setattr(launch, "ENOUGH", ENOUGH)
    for channels in (1, 3, 16, 48, 100):
        for size in ((1, 1), (5, 123), (28, 28), (7, 33, 500)):
            for along in (False, True):
                cut = launch.tile_config(3, channels, size, 512, along, False)
                tiles = cut.programs // cut.chunks
                assert cut.chunks * cut.chunk * cut.block_c >= channels
                assert (cut.chunks - 1) * cut.chunk * cut.block_c < channels
                height, width = size[-2:]
                rows, columns = -(-height // cut.tile_h), -(-width // cut.tile_w)
                assert tiles == 3 * math.prod(size[:-2]) * rows * columns


@pytest.mark.parametrize("padding", PADDINGS)
def test_identity_is_bit_exact(padding):
    sizes = {"zeros": (17, 29), "wrap": (1, 1), "mirror": (1, 60)}
    size = sizes.get(padding, (7, 3))
    image = torch.randn(1, 2, *size).to(DEVICE)
    matrix = torch.eye(3)[None].to(DEVICE)
    for align_corners in (False, True):
        options = ("bilinear", padding, fill_for(padding, image), align_corners)
        for maps in (matrix[:, :2], matrix):
            assert torch.equal(forward(launch, image, maps, size, *options, grid=False), image)
    grid = grid_from_matrix(matrix, size, align_corners)
    assert torch.equal(forward(launch, image, grid, size, *options, grid=True), image)
    if padding != "zeros":  # that one is large
        cubic = forward(launch, image, matrix[:, :2], size, "bicubic", *options[1:], grid=False)
        assert torch.equal(cubic, image)


def test_identity_of_volumes_and_half_types_is_bit_exact():
    matrix = torch.eye(4)[None, :3].to(DEVICE)
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        image = torch.randn(1, 2, 2, 5, 6).to(DEVICE, dtype)
        out = forward(
            launch, image, matrix, (2, 5, 6), "bilinear", "zeros", None, False, grid=False
        )
        assert torch.equal(out, image)


BAD = [math.nan, math.inf, -math.inf, 1e30, -1e30, 3e38, 2.0**31, -(2.0**40)]


def guarded(image, guard=300):
    """The same image among NaNs: what is read out of bounds is seen."""
    memory = torch.full((image.numel() + 2 * guard,), torch.nan).to(image)
    inner = memory[guard:-guard].view(image.shape)
    return inner.copy_(image)


@pytest.mark.parametrize("padding", PADDINGS)
def test_any_theta_whatever_is_read_in_bounds(padding):
    image = guarded(random(1, 1, 9, 7, dtype=torch.float32))
    for kind, kernel in (("affine", "bilinear"), ("projective", "nearest")):
        entries = 6 if kind == "affine" else 9
        maps = matrices(entries, 2, kind, spread=0.0, dtype=torch.float32)
        for k in range(entries):
            maps[k].view(-1)[k] = BAD[(k + PADDINGS.index(padding)) % len(BAD)]
        fill = fill_for(padding, image)
        options = (kernel, padding, fill, False)
        out = forward(launch, image, maps, (8, 9), *options, grid=False)
        assert out.isfinite().all()
        level = 0.0 if fill is None else fill.item()
        lost = ~maps.isfinite().flatten(1).all(1)
        if kind == "affine":  # a projective one may be infinitely deep, which is a point
            assert lost.any()
            assert (out[lost] == level).all()
            more = {"grid": False, "needs_image_grad": True, "needs_map_grad": True}
            to_image, to_maps = launch.backward(torch.ones_like(out), image, maps, *options, **more)
            assert to_image.isfinite().all()
            assert (to_maps[lost] == 0).all()


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_any_grid_whatever_equals_eager(padding, dtype):
    """Points that are not finite, or so far away that they have no fraction left."""
    image = guarded(random(1, 2, 5, 7, dtype=dtype))
    grid = 2 * torch.randn(1, 5, 8, 2, dtype=dtype)
    bad = torch.tensor([*BAD, 3e9, 7e8, 1e300 if dtype == torch.float64 else 1e38], dtype=dtype)
    grid.view(-1)[::5] = bad.repeat(10)[: len(grid.view(-1)[::5])]
    fill = fill_for(padding, image)
    options = ("bilinear", padding, fill, False)
    # float32 rounds products of coordinates as large as these as it likes
    tolerance = 1e-10 if dtype == torch.float64 else 2e-5
    (_, to_image, to_grid), _ = both(
        image, grid.to(DEVICE), (5, 8), *options, grid=True, tolerance=tolerance
    )
    assert to_image.isfinite().all()
    lost = ~grid.isfinite().all(-1)
    assert (to_grid.cpu()[lost] == 0).all()


@pytest.mark.parametrize("kernel", ["nearest", "bilinear"])
@pytest.mark.parametrize("padding", ["wrap", "mirror", "reflection"])
def test_far_off_it_is_what_the_oracle_says(padding, kernel):
    image, grid = random(1, 1, 1, 16, dtype=torch.float32), torch.zeros(1, 8, 256, 2)
    halves = torch.randint(-(2**25), 2**25, (1, 8, 256)).double() / 2
    grid[..., 0] = (halves - 7.5) / 8
    told = (grid[..., 0].double() * 8 + 7.5 == halves) & (halves == halves.float())
    assert told.sum() > 1000
    read = forward(
        launch, image, grid.to(DEVICE), (8, 256), kernel, padding, None, False, grid=True
    )
    wanted = sample_reference(image.cpu().double(), grid.double(), kernel, padding, None, False)
    difference = (read.cpu().double() - wanted).abs()[:, 0][told]
    assert difference.max() < 1e-6


def test_an_infinite_fill_leaves_no_nan():
    image, grid = random(1, 2, 3, 4), torch.full((1, 3, 3, 2), torch.nan).to(DEVICE)
    fill = torch.full((1, 2, 1), torch.inf).to(image)
    options = ("bilinear", "fill", fill, False)
    out = forward(launch, image, grid, (3, 3), *options, grid=True)
    assert (out == torch.inf).all()
    more = {"grid": True, "needs_image_grad": True, "needs_map_grad": True}
    for found in launch.backward(torch.ones_like(out), image, grid, *options, **more):
        assert (found == 0).all()


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("shape", [(2, 2, (14, 13), (15, 16)), (1, 3, (5, 123), (6, 40))], ids=str)
def test_float32_errs_at_most_twice_as_much_as_torch(shape, padding):
    batch, channels, size, out = shape
    image = random(batch, channels, *size, dtype=torch.float32).requires_grad_()
    matrix = matrices(batch, 2, dtype=torch.float32).requires_grad_()
    options = ("bilinear", padding, None, False)
    weight = torch.randn(batch, channels, *out).to(DEVICE)
    exact = eager(image.double(), matrix.double(), out, *options, grid=False)
    exact = (exact, *gradients(exact, weight.double(), image, matrix))
    grid = F.affine_grid(matrix, [batch, 1, *out], align_corners=False)
    torchs = F.grid_sample(image, grid, padding_mode=padding, align_corners=False)
    torchs = (torchs, *gradients(torchs, weight, image, matrix))
    image, matrix = image.detach(), matrix.detach()
    more = {"grid": False, "needs_image_grad": True, "needs_map_grad": True}
    ours = (
        forward(launch, image, matrix, out, *options, grid=False),
        *launch.backward(weight, image, matrix, *options, **more),
    )
    for a, t, e in zip(ours, torchs, exact, strict=True):
        error, allowed = ((x - e).abs().max().item() for x in (a, t))
        assert error <= 2 * allowed + 2e-7 * e.abs().max().item()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types_err_at_most_twice_as_much_as_torch(dtype):
    image = random(2, 3, 9, 8, dtype=dtype)
    maps, weight = matrices(2, 2, dtype=torch.float32), torch.randn(2, 3, 7, 7).to(DEVICE, dtype)
    options = ("bilinear", "reflection", None, False)
    wide = image.double().requires_grad_()
    exact = eager(wide, maps.double(), (7, 7), *options, grid=False)
    (exact_grad,) = gradients(exact, weight.double(), wide)
    leaf = image.float().requires_grad_()
    # torch has no half types on CPU: float32, rounded, is better than what it has on a GPU
    grid = F.affine_grid(maps, [2, 3, 7, 7], align_corners=False)
    torchs = F.grid_sample(leaf, grid, padding_mode="reflection", align_corners=False)
    (torch_grad,) = gradients(torchs, weight.float(), leaf)
    out = forward(launch, image, maps, (7, 7), *options, grid=False)
    more = {"grid": False, "needs_image_grad": True, "needs_map_grad": True}
    to_image, to_maps = launch.backward(weight, image, maps, *options, **more)
    assert (out.dtype, to_image.dtype, to_maps.dtype) == (dtype, dtype, torch.float32)
    for a, t, e in ((out, torchs, exact), (to_image, torch_grad, exact_grad)):
        error, allowed = ((x.double() - e).abs().max().item() for x in (a, t.to(dtype)))
        # the interpreter cuts bfloat16 off, where a GPU rounds
        assert error <= (3 if DEVICE == "cpu" else 2) * allowed + 1e-7


@pytest.fixture
def deterministic():
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(before)


@pytest.mark.usefixtures("deterministic")
class TestDeterministic:
    @pytest.mark.parametrize("kernel", KERNELS)
    def test_equals_eager(self, kernel):
        both(random(1, 2, 5, 4), matrices(2, 2), (4, 6), kernel, "border", None, False)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_the_same_bits_in_any_order(self, replanned, dtype):
        """Programs of other tiles add in another order; torch's floating point sums would tell."""
        image = random(1, 2, 6, 5, dtype=dtype)
        maps = matrices(2, 2, spread=0.3, dtype=dtype)
        weight = random(2, 2, 8, 6, dtype=dtype) - 0.5
        options = ("bilinear", "border", None, False)
        more = {"grid": False, "needs_image_grad": True, "needs_map_grad": False}
        real, found = launch.tile_config, []
        for elements in (256, 16):
            cut = partial(lambda n, b, c, s, e, *rest: real(b, c, s, n, *rest), elements)
            replanned.setattr(launch, "tile_config", cut)
            launch.plan.cache_clear()
            found.append(launch.backward(weight, image, maps, *options, **more)[0])
        assert found[0].dtype == dtype
        assert all(torch.equal(found[0], other) for other in found[1:])

    def test_small_gradients_and_ones_that_are_not_finite(self):
        image, maps = random(2, 1, 4, 4, dtype=torch.float32), matrices(2, 2, dtype=torch.float32)
        options = ("bilinear", "wrap", None, False)
        more = {"grid": False, "needs_image_grad": True, "needs_map_grad": False}
        weight = 1e-30 * torch.randn(2, 1, 4, 4).to(DEVICE)
        (small, _) = launch.backward(weight, image, maps, *options, **more)
        (large, _) = launch.backward(1e30 * weight, image, maps, *options, **more)
        torch.testing.assert_close(1e30 * small, large, rtol=1e-5, atol=1e-6)
        weight[1, 0, 0, 0] = math.inf
        (bad, _) = launch.backward(weight, image, maps, *options, **more)
        assert torch.equal(bad[0], small[0])
        assert bad[1].isnan().all()
        (none, _) = launch.backward(0 * small, image, maps, *options, **more)
        assert (none == 0).all()


def test_only_the_gradients_asked_for_are_computed():
    image, maps = random(2, 2, 4, 3), matrices(2, 2)
    (_, to_image, to_maps), weight = both(image, maps, (3, 3), "bilinear", "zeros", None, False)
    for needs_image_grad, needs_map_grad in ((True, False), (False, True), (False, False)):
        a, b = launch.backward(
            weight, image, maps, "bilinear", "zeros", None, False,
            grid=False, needs_image_grad=needs_image_grad, needs_map_grad=needs_map_grad,
        )  # fmt: skip
        assert torch.equal(a, to_image) if needs_image_grad else a is None
        assert torch.equal(b, to_maps) if needs_map_grad else b is None


@pytest.mark.parametrize("dims", [2, 3])
def test_layouts(dims):
    last = torch.channels_last if dims == 2 else torch.channels_last_3d
    image = random(1, 3, *(4, 3, 2)[:dims])
    maps, size = matrices(1, dims), (1, 2, 3)[-dims:]
    options = ("bilinear", "border", None, False)
    out = forward(launch, image, maps, size, *options, grid=False)
    laid_out = image.contiguous(memory_format=last)
    (ours, to_image, _), weight = both(laid_out, maps, size, *options)
    assert torch.equal(ours, out)
    assert ours.is_contiguous(memory_format=last)
    assert to_image.is_contiguous(memory_format=last)
    assert out.is_contiguous()
    # of any strides: turned, and expanded
    both(image.transpose(-1, -2), maps, size, *options)
    if dims == 3:
        return
    both(image[:1, :1].expand(2, 3, *image.shape[2:]), maps, size, *options)
    more = {"grid": False, "needs_image_grad": True, "needs_map_grad": False}
    flat = torch.ones((), dtype=torch.float64, device=DEVICE)
    (a, _), (b, _) = (
        launch.backward(g, image, maps, *options, **more)
        for g in (flat.expand(weight.shape), flat.expand(weight.shape).contiguous())
    )
    torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kernel", ["nearest", "bilinear"])
@pytest.mark.parametrize("grid", [False, True])
def test_strides_are_those_that_compilers_are_told(grid, kernel):
    """Of the output and of both gradients, however the inputs lie."""
    image = random(2, 3, 4, 5)
    images = (
        image,
        image.contiguous(memory_format=torch.channels_last),
        image.transpose(-1, -2),
        image.permute(1, 0, 2, 3),
        random(2, 3, 1, 1).contiguous(memory_format=torch.channels_last),
        random(1, 3, 4, 1).expand(2, 3, 4, 5),
    )
    for image in images:
        maps = matrices(len(image), 2)
        if grid:
            maps = grid_from_matrix(maps, (3, 2), False).transpose(1, 2)
        size = list(maps.shape[1:3]) if grid else [3, 2]
        sized = () if grid else (size,)
        options = (kernel, "zeros", None, False)
        warp, back = (
            getattr(torch.ops.stn, f"{'sample_grid' if grid else 'warp_matrix'}{end}")
            for end in ("", "_backward")
        )
        out = warp(image, maps, *sized, *options, "triton")
        found = (out, *back(torch.ones_like(out), image, maps, *options, "triton", True, True))
        meta = [torch.empty_strided(t.shape, t.stride(), device="meta") for t in (image, maps)]
        faked = warp(*meta, *sized, *options, "triton")
        faked = (faked, *back(torch.ones_like(faked), *meta, *options, "triton", True, True))
        assert [t.stride() for t in found] == [t.stride() for t in faked]


@pytest.mark.parametrize("dims", [2, 3])
def test_an_affine_theta_is_its_matrix(dims):
    image, size = random(2, 3, *(4, 5, 3)[:dims]), (3, 4, 2)[:dims]
    matrix = matrices(2, dims)
    options = ("bilinear", "zeros", None, False)
    found = []
    for maps in (matrix, matrix.flatten(1)):
        out = forward(launch, image, maps, size, *options, grid=False)
        wanted = {"needs_image_grad": True, "needs_map_grad": True}
        back = launch.backward(torch.ones_like(out), image, maps, *options, grid=False, **wanted)
        assert back[1].shape == maps.shape
        found.append((out, back[0], back[1].flatten(1)))
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)
    for odd in (matrix.flatten(1)[:, :-1], matrix[:, None]):
        with pytest.raises(ValueError, match="matrix has the shape"):
            forward(launch, image, odd, size, *options, grid=False)


def test_a_compiler_takes_it_whole():
    torch.compiler.reset()
    image, theta = random(2, 3, 5, 6), stn.Affine().identity().double().expand(2, 6).to(DEVICE)

    def call(image, theta):
        return stn.warp(image, theta, "affine", 4, backend="triton")

    compiled = torch.compile(call, backend="aot_eager", fullgraph=True)
    assert torch.equal(compiled(image, theta), call(image, theta))


def test_offsets_of_64_bits(replanned):
    """As for an item of 2^31 entries, which is too large for a test."""
    replanned.setattr(launch, "_extent", lambda form: 2**31)
    image = random(1, 2, 3, 4)
    fill = fill_for("fill", image)
    both(image, matrices(2, 2), (3, 2), "bilinear", "fill", fill, False)
    grid = grid_from_matrix(matrices(1, 2), (3, 2), False)
    both(image, grid, (3, 2), "bilinear", "fill", fill, False, grid=True)


def test_shapes_the_kernels_would_misread_are_refused():
    image, matrix = random(2, 3, 4, 4), random(3, 2, 3)
    rest = ("bilinear", "zeros", None, False)
    with pytest.raises(ValueError, match="do not divide"):
        forward(launch, image, matrix, (4, 4), *rest, grid=False)
    with pytest.raises(ValueError, match="matrix has the shape"):
        forward(launch, image, matrix[:2, :1], (4, 4), *rest, grid=False)
    with pytest.raises(ValueError, match="grid has the shape"):
        forward(launch, image, random(2, 4, 5, 2), (4, 4), *rest, grid=True)
    with pytest.raises(ValueError, match="one value per channel"):
        forward(
            launch,
            image,
            matrix[:2],
            (4, 4),
            "bilinear",
            "fill",
            random(2, 2, 1),
            False,
            grid=False,
        )
    with pytest.raises(ValueError, match="grad has the shape"):
        launch.backward(
            image[:1],
            image,
            matrix[:2],
            *rest,
            grid=False,
            needs_image_grad=True,
            needs_map_grad=True,
        )


class TestAvailable:
    def test_here(self):
        able, why = package.available()
        assert able
        assert ("interpreter" in why) == (DEVICE == "cpu")

    def test_without_triton(self, monkeypatch):
        monkeypatch.setattr(package, "find_spec", lambda name: None)
        able, why = package.available()
        assert not able
        assert "not installed" in why

    @pytest.mark.parametrize(("variable", "able"), [("1", True), ("0", False)])
    def test_before_the_kernels_are_loaded(self, monkeypatch, variable, able):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        monkeypatch.delitem(package.sys.modules, f"{package.__name__}.forward")
        monkeypatch.setenv("TRITON_INTERPRET", variable)
        assert package.available()[0] == able


@pytest.mark.parametrize("padding", ["zeros", "reflection"])
def test_by_name_through_the_operators(padding):
    image, grid = random(2, 3, 5, 6), 2 * random(2, 4, 3, 2) - 1
    theta = stn.Affine().identity().double() + 0.3 * torch.randn(2, 6, dtype=torch.float64)
    theta = theta.to(DEVICE)
    for call, maps in (
        (lambda i, m, b: stn.sample(i, m, padding=padding, backend=b), grid),
        (lambda i, m, b: stn.warp(i, m, "affine", padding=padding, backend=b), theta),
    ):
        found = []
        for backend in ("triton", "eager"):
            leaves = image.clone().requires_grad_(), maps.clone().requires_grad_()
            out = call(*leaves, backend)
            weight = torch.linspace(-1, 1, out.numel(), dtype=out.dtype, device=DEVICE)
            found.append((out, *torch.autograd.grad((out.flatten() * weight).sum(), leaves)))
        for ours, eager in zip(*found, strict=True):
            torch.testing.assert_close(ours, eager, rtol=0, atol=1e-10)
