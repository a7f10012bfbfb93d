"""The fused CPU kernels against eager, the float64 oracle and torch; determinism; safety."""

import math
from itertools import product

import pytest
import torch
import torch.nn.functional as F

import spatial_transformer as stn
from spatial_transformer import functional
from spatial_transformer.errors import BackendError
from spatial_transformer.ops import backend as backends
from spatial_transformer.ops import plan
from spatial_transformer.ops.cpu import launch, load
from spatial_transformer.samplers.padding import PADDINGS

pytestmark = pytest.mark.skipif(load.LIBRARY is None, reason=f"no C++ kernels: {load.WHY}")
SHAPES = [  # batch, channels, input, output
    (2, 1, (1, 1), (3, 3)),
    (1, 3, (5, 123), (17, 300)),
    (3, 2, (7, 3), (1, 1)),
    (1, 33, (8, 9), (10, 11)),
    (4, 1, (28, 28), (42, 42)),
]
# Planes that are large against the output are read in place; the others from padded copies.
IN_PLACE = [
    (1, 2, (40, 33), (20, 21)),
    (1, 1, (33, 40), (3, 700)),
    (1, 2, (90, 91), (5, 300)),
    (3, 2, (50, 1), (2, 3)),
    (3, 2, (1, 50), (1, 1)),
]
DEEP = [
    (2, 1, (1, 1, 1), (2, 3, 3)),
    (1, 2, (3, 4, 5), (6, 5, 7)),
    (2, 9, (4, 3, 2), (3, 3, 9)),
    (1, 1, (20, 21, 22), (3, 4, 5)),  # in place
]


def family_of(shape):
    return stn.Affine(dims=len(shape[2]))


def case(shape, dtype=torch.float32, spread=0.5):
    batch, channels, size, out = shape
    image = torch.rand(batch, channels, *size, dtype=dtype)
    identity = family_of(shape).identity().to(dtype)
    theta = identity + spread * torch.randn(batch, len(identity), dtype=dtype)
    return image, theta, out


def fill_for(padding, channels):
    return torch.linspace(-1, 1, channels) if padding == "fill" else None


def results(image, theta, size, backend, transform="affine", **options):
    """Output and gradients to image and theta."""
    image, theta = image.detach().requires_grad_(), theta.detach().requires_grad_()
    out = stn.warp(image, theta, transform, size, backend=backend, **options)
    weight = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).reshape(out.shape)
    return out, *torch.autograd.grad((out * weight).sum(), (image, theta))


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("kernel", ["nearest", "bilinear"])
@pytest.mark.parametrize("shape", SHAPES + IN_PLACE, ids=str)
def test_equals_eager_and_the_oracle_in_float64(shape, kernel, padding, align_corners):
    image, theta, out = case(shape, torch.float64)
    options = {
        "kernel": kernel,
        "padding": padding,
        "align_corners": align_corners,
        "fill": fill_for(padding, shape[1]),
    }
    ours = results(image, theta, out, "cpu", **options)
    for backend in ("eager", "reference"):
        for a, b in zip(ours, results(image, theta, out, backend, **options), strict=True):
            scale = max(1.0, b.abs().max().item())
            torch.testing.assert_close(a, b, rtol=0, atol=2e-12 * scale)


def assert_equal(ours, others, tolerance):
    for a, b in zip(ours, others, strict=True):
        scale = max(1.0, b.abs().max().item())
        torch.testing.assert_close(a, b, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("kernel", ["nearest", "bilinear"])
@pytest.mark.parametrize("shape", DEEP, ids=str)
def test_volumes_equal_eager_in_float64(shape, kernel, padding, align_corners):
    image, theta, out = case(shape, torch.float64)
    options = {
        "kernel": kernel,
        "padding": padding,
        "align_corners": align_corners,
        "fill": fill_for(padding, shape[1]),
        "transform": family_of(shape),
    }
    ours = results(image, theta, out, "cpu", **options)
    assert_equal(ours, results(image, theta, out, "eager", **options), 2e-12)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("shape", SHAPES + IN_PLACE, ids=str)
def test_bicubic_equals_eager_in_float64(shape, padding, align_corners):
    image, theta, out = case(shape, torch.float64)
    options = {
        "kernel": "bicubic",
        "padding": padding,
        "align_corners": align_corners,
        "fill": fill_for(padding, shape[1]),
    }
    ours = results(image, theta, out, "cpu", **options)
    assert_equal(ours, results(image, theta, out, "eager", **options), 2e-12)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("kernel", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("shape", [SHAPES[1], SHAPES[3], IN_PLACE[0]], ids=str)
def test_projective_equals_eager_in_float64(shape, kernel, padding, align_corners):
    """Points behind the horizon among them; just before it coordinates are as large as 1e7."""
    batch, channels, size, out = shape
    image = torch.rand(batch, channels, *size, dtype=torch.float64)
    theta = stn.Projective().identity().double() + 0.3 * torch.randn(batch, 8).double()
    theta[:, 6:] += torch.tensor([0.9, -0.8])
    options = {
        "kernel": kernel,
        "padding": padding,
        "align_corners": align_corners,
        "fill": fill_for(padding, channels),
        "transform": "projective",
    }
    ours = results(image, theta, out, "cpu", **options)
    assert_equal(ours, results(image, theta, out, "eager", **options), 1e-7)


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("kernel", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("channels", [1, 3, 8, 13, 24])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_channels_last_is_read_and_written_as_it_is(dtype, channels, kernel, padding):
    """The same numbers (in another order of addition), in the image's layout."""
    for size in ((6, 7), (40, 39)):
        image, theta, _ = case((2, channels, size, size), torch.float32)
        image = image.to(dtype)
        last = image.contiguous(memory_format=torch.channels_last)
        options = {"kernel": kernel, "padding": padding, "fill": fill_for(padding, channels)}
        found = results(last, theta, (9, 8), "cpu", **options)
        wanted = results(image, theta, (9, 8), "cpu", **options)
        assert found[0].is_contiguous(memory_format=torch.channels_last)
        assert found[1].is_contiguous(memory_format=torch.channels_last)
        tolerance = {torch.float32: 2e-6, torch.float64: 2e-13, torch.bfloat16: 1e-2}[dtype]
        assert_equal([x.double() for x in found], [x.double() for x in wanted], tolerance)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("channels", [2, 11])
def test_half_precision_is_stored_only(dtype, channels):
    """Computed in float32 and rounded once, to nearest even: to the last bit."""
    image, theta, _ = case((2, channels, (9, 31), (9, 31)))
    half = image.to(dtype)
    ours, to_image, to_theta = results(half, theta, (12, 20), "cpu")
    wide = stn.warp(half.float(), theta, "affine", (12, 20), backend="cpu")
    assert torch.equal(ours, wide.to(dtype))
    weight = torch.linspace(-1, 1, ours.numel(), dtype=dtype).reshape(ours.shape).float()
    for kept, t in ((to_image, half.float()), (to_theta, theta)):
        leaf = t.clone().requires_grad_()
        pair = (leaf, theta) if kept is to_image else (half.float(), leaf)
        wide = stn.warp(*pair, "affine", (12, 20), backend="cpu")
        (wanted,) = torch.autograd.grad((wide * weight).sum(), leaf)
        assert torch.equal(kept, wanted.to(kept.dtype))


def test_every_half_precision_number_survives():
    """The conversions by bits against torch's, for all 65,536 patterns."""
    bits = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16)
    for dtype in (torch.float16, torch.bfloat16):
        image = bits.view(dtype).reshape(1, 1, 256, 256)
        theta = stn.Affine().identity()[None]
        found = stn.warp(image, theta, "affine", kernel="nearest", backend="cpu")
        same = (found == image) | (found.isnan() & image.isnan())
        assert same.all()
    wide = torch.rand(1, 1, 300, 301) * torch.logspace(-9, 4, 301)
    for dtype in (torch.float16, torch.bfloat16):
        # an average of two neighbours is rounded as torch rounds it
        half = wide.to(dtype)
        shift = torch.tensor([[1.0, 0, 1 / 301, 0, 1, 0]])
        found = stn.warp(half, shift, "affine", backend="cpu")
        exact = stn.warp(half.float(), shift, "affine", backend="cpu").to(dtype)
        assert torch.equal(found, exact)


LARGE = [  # those of the benchmark
    (4, 1, (60, 60), (30, 30)),
    (2, 48, (32, 32), (32, 32)),
    (1, 3, (448, 448), (224, 224)),
    (1, 3, (512, 512), (512, 512)),
    (1, 1, (48, 48, 48), (48, 48, 48)),
]


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("shape", SHAPES[1:] + LARGE, ids=str)
def test_float32_errs_at_most_twice_as_much_as_torch(shape, padding):
    """The output and the gradient to the image, of noise, against float64."""
    image, theta, out = case(shape, spread=0.2)
    dims, family = len(out), family_of(shape)

    def ours(image, theta):
        return stn.warp(image, theta, family, out, padding=padding, backend="cpu")

    def torchs(image, theta):
        size = (shape[0], 1, *out)
        grid = F.affine_grid(theta.unflatten(1, (dims, dims + 1)), size, align_corners=False)
        return F.grid_sample(image, grid, padding_mode=padding, align_corners=False)

    def both(warp, dtype):
        leaf = image.to(dtype).requires_grad_()
        warped = warp(leaf, theta.to(dtype))
        weight = torch.linspace(-1, 1, warped.numel(), dtype=dtype).reshape(warped.shape)
        return warped.detach(), torch.autograd.grad((warped * weight).sum(), leaf)[0]

    exact = both(torchs, torch.float64)
    for found, allowed, truth in zip(
        both(ours, torch.float32), both(torchs, torch.float32), exact, strict=True
    ):
        error, limit = ((x - truth).abs().max().item() for x in (found, allowed))
        assert error <= 2 * limit + 2e-7 * truth.abs().max().item()


@pytest.mark.parametrize("padding", PADDINGS)
def test_the_same_bits_from_run_to_run_and_for_any_number_of_threads(padding):
    image, theta, _ = case((3, 20, (37, 41), (40, 50)))
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 3, 2):
            torch.set_num_threads(threads)
            options = {"padding": padding, "fill": fill_for(padding, 20)}
            found.append(results(image, theta, (40, 50), "cpu", **options))
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("out", [(35, 33), (6, 517), (19, 1)])  # rows in a run, and runs in a row
@pytest.mark.parametrize("size", [(29, 31), (300, 301)])  # padded copies; in place
@pytest.mark.parametrize("channels", [3, 9])  # vectors along pixels; along channels
def test_the_same_bits_from_every_instruction_set(monkeypatch, channels, size, out, dtype, padding):
    image, theta, _ = case((2, channels, size, out), dtype)
    found = []
    for level in range(load.LIBRARY.stn_level() + 1):
        monkeypatch.setattr(launch, "LEVEL", level)
        options = {"padding": padding, "fill": fill_for(padding, channels)}
        found.append(results(image, theta, out, "cpu", **options))
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("kernel", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("shape", [SHAPES[1], SHAPES[3], IN_PLACE[0], *DEEP[1:3]], ids=str)
def test_any_grid_whatever_equals_eager(shape, kernel, padding):
    """Points that are not finite, or so far away that they have no fraction left."""
    batch, channels, size, out = shape
    if len(size) == 3 and kernel == "bicubic":
        pytest.skip("bicubic is fused in 2-D alone")
    image = torch.rand(batch, channels, *size, dtype=torch.float64, requires_grad=True)
    grid = 2 * torch.randn(batch, *out, len(size), dtype=torch.float64)
    bad = torch.tensor([math.nan, math.inf, -math.inf, 1e30, -1e30, 1e300, -(2.0**40), 3e9])
    grid.view(-1)[::7] = bad.double().repeat(grid.numel())[: len(grid.view(-1)[::7])]
    grid.requires_grad_()
    options = {"kernel": kernel, "padding": padding, "fill": fill_for(padding, channels)}
    found = []
    for backend in ("cpu", "eager"):
        value = stn.sample(image, grid, backend=backend, **options)
        weight = torch.linspace(-1, 1, value.numel(), dtype=value.dtype).reshape(value.shape)
        found.append((value, *torch.autograd.grad((value * weight).sum(), (image, grid))))
    for ours, eager in zip(*found, strict=True):
        torch.testing.assert_close(ours, eager, rtol=0, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("kernel", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(28, 28), (12, 13, 14)], ids=str)
def test_any_affine_matrix_whatever_equals_eager(size, kernel, padding, dtype):
    """Entries that are not finite, or lead there, of a crop that stays away from the edges: all
    that it reads is the fill value, at the edge."""
    dims = len(size)
    if dims == 3 and kernel == "bicubic":
        pytest.skip("bicubic is fused in 2-D alone")
    transform = stn.Affine(dims=dims)
    good = transform.identity().to(dtype).view(dims, dims + 1) * 0.2
    good[:, -1] = 0.5
    bad = [math.nan, math.inf, -math.inf]
    if padding in ("zeros", "fill", "border"):  # others repeat: nothing is left of where
        bad += [1e30, torch.finfo(dtype).max / 1e4]
    theta = good.flatten().repeat(len(bad) * dims * (dims + 1) + 1, 1)
    for n, (value, at) in enumerate(product(bad, range(dims * (dims + 1)))):
        theta[n, at] = value
    image = torch.rand(1, 2, *size, dtype=dtype)
    options = {"kernel": kernel, "padding": padding, "fill": fill_for(padding, 2)}
    dirt = torch.full_like(image, 123).expand(len(theta), *image.shape[1:])
    found = []
    for backend in ("cpu", "eager"):
        stn.warp(dirt, good.flatten()[None], transform, backend=backend, **options)
        inputs = image.clone().requires_grad_(), theta.clone().requires_grad_()
        value = stn.warp(*inputs, transform, backend=backend, **options)
        found.append((value.detach(), *torch.autograd.grad(value.square().sum(), inputs)))
    assert not found[1][2][-1].isnan().any()
    for ours, eager in zip(*found, strict=True):
        scale = eager.abs().amax().clamp(min=1)
        torch.testing.assert_close(ours / scale, eager / scale, rtol=0, atol=2e-4)


def test_identity_is_bit_exact():
    for size in [(1, 1), (7, 3), (28, 28), (301, 299)]:
        image = torch.randn(2, 3, *size)
        theta = stn.Affine().identity().repeat(2, 1)
        for padding in PADDINGS:
            for align_corners in (False, True):
                options = {"padding": padding, "fill": fill_for(padding, 3)}
                out = stn.warp(
                    image, theta, "affine", align_corners=align_corners, backend="cpu", **options
                )
                assert torch.equal(out, image)


def test_shapes_the_kernels_would_misread_are_refused():
    image, matrix = torch.rand(2, 3, 4, 4), torch.rand(3, 2, 3)
    with pytest.raises(ValueError, match="do not divide"):
        torch.ops.stn.warp_matrix(image, matrix, [4, 4], "bilinear", "zeros", None, False, "cpu")
    with pytest.raises(ValueError, match="matrix has the shape"):
        torch.ops.stn.warp_matrix(
            image, matrix[:2, :1], [4, 4], "bilinear", "zeros", None, False, "cpu"
        )
    for theta in (torch.rand(2, 5), torch.rand(2, 1, 6), torch.rand(2, 12)):
        with pytest.raises(ValueError, match="matrix has the shape"):
            launch.bind(image, theta, (4, 4), "bilinear", "zeros", None, False, grid=False)
    fill = torch.rand(2, 2, 1)
    with pytest.raises(ValueError, match="one value per channel"):
        torch.ops.stn.warp_matrix(image, matrix[:2], [4, 4], "bilinear", "fill", fill, False, "cpu")


@pytest.mark.slow
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("align_corners", [False, True])
def test_gradcheck_and_gradgradcheck(padding, align_corners):
    image, theta, _ = case((2, 2, (4, 5), (3, 3)), torch.float64, spread=0.2)
    image.requires_grad_()
    theta.requires_grad_()
    fill = None if padding != "fill" else [0.5, -1.0]

    def warp(image, theta):
        return stn.warp(
            image, theta, "affine", (3, 3),
            padding=padding, align_corners=align_corners, fill=fill, backend="cpu",
        )  # fmt: skip

    tight = {"eps": 1e-6, "atol": 1e-7, "rtol": 1e-6}
    assert torch.autograd.gradcheck(warp, (image, theta), **tight)
    assert torch.autograd.gradgradcheck(warp, (image, theta), **tight)


@pytest.mark.slow
@pytest.mark.parametrize("batches", [(2, 2), (1, 2), (2, 1)], ids=str)
@pytest.mark.parametrize("fills", [None, 1, 2])
def test_gradgradcheck_of_several_transforms_of_an_image(batches, fills):
    images, thetas = batches
    torch.manual_seed(0)
    image = torch.rand(images, 2, 3, 2, dtype=torch.float64, requires_grad=True)
    theta = torch.randn(thetas, 2, 6, dtype=torch.float64) * 0.2 + stn.Affine().identity()
    theta.requires_grad_()
    options = {} if fills is None else {"padding": "fill", "fill": torch.rand(fills, 2).double()}

    def warp(image, theta):
        return stn.warp(image, theta, "affine", (2, 2), backend="cpu", **options)

    tight = {"eps": 1e-6, "atol": 1e-7, "rtol": 1e-6}
    assert torch.autograd.gradgradcheck(warp, (image, theta), **tight)


@pytest.mark.parametrize("images", [(1, 6), (2, 6), (6, 6), (6, 1)])
def test_batches_share_images_and_matrices_without_copies(images):
    count, maps = images
    image = torch.rand(count, 3, 6, 7, dtype=torch.float64)
    theta = torch.randn(maps, 6, dtype=torch.float64)
    if count == 2:
        theta = theta.reshape(2, 3, 6)
    ours = results(image, theta, (5, 4), "cpu")
    for a, b in zip(ours, results(image, theta, (5, 4), "eager"), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_fill_per_image_and_n_transforms():
    image, theta = torch.rand(2, 3, 5, 5), torch.randn(2, 4, 6)
    fill = torch.randn(2, 3)
    ours, eager = (
        stn.warp(image, theta, "affine", padding="fill", fill=fill, backend=b)
        for b in ("cpu", "eager")
    )
    torch.testing.assert_close(ours, eager, rtol=0, atol=1e-5)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e30, -1e30, 3e38, 2.0**31])
@pytest.mark.parametrize("padding", PADDINGS)
def test_any_theta_whatever_is_read_in_bounds(padding, bad):
    image = torch.rand(2, 2, 9, 7)
    for entry in range(6):
        theta = stn.Affine().identity().repeat(2, 1)
        theta[1, entry] = bad
        out, to_image, to_theta = results(
            image, theta, (8, 300), "cpu", padding=padding, fill=fill_for(padding, 2)
        )
        assert ((out >= -1) & (out <= 1)).all()
        assert to_image.isfinite().all()
        assert to_theta.isfinite().all() or abs(bad) >= 1e30
        if not math.isfinite(bad):
            fill = fill_for(padding, 2)
            fill = torch.zeros(2) if fill is None else fill
            assert torch.equal(out[1], fill[:, None, None].expand_as(out[1]))
            assert torch.equal(to_theta[1], torch.zeros(6))
            assert torch.equal(to_image[1], torch.zeros_like(image[1]))


@pytest.mark.parametrize("kernel", ["bilinear", "bicubic"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("channels", [1, 2, 9])
def test_one_coordinate_that_is_not_finite_reads_the_fill_value_itself(kernel, bad, channels):
    torch.manual_seed(0)
    image, fill = torch.randn(1, channels, 5, 7), torch.linspace(0.1, 0.9, channels)
    grid = 2 * torch.rand(1, 9, 11, 2) - 1
    grid[..., 0] = bad
    options = {"kernel": kernel, "padding": "fill", "fill": fill, "backend": "cpu"}
    wanted = fill[:, None, None].expand(channels, 9, 11)
    # and not a sum of it times weights that add up to 1 within rounding
    assert torch.equal(stn.sample(image, grid, **options)[0], wanted)
    theta = torch.tensor([[bad, 0.0, 0.0, 0.3, 0.7, 0.1]])
    assert torch.equal(stn.warp(image, theta, "affine", (9, 11), **options)[0], wanted)


def test_only_the_gradients_asked_for_are_computed():
    image, theta, out = case(SHAPES[4])
    theta.requires_grad_()
    stn.warp(image, theta, "affine", out, backend="cpu").sum().backward()
    assert image.grad is None
    whole = results(image, theta, out, "cpu")
    weight = torch.linspace(-1, 1, whole[0].numel()).reshape(whole[0].shape)
    warped = stn.warp(image, theta, "affine", out, backend="cpu")
    (alone,) = torch.autograd.grad((warped * weight).sum(), theta)
    assert torch.equal(alone, whole[2])


def test_other_layouts_and_dtypes():
    image, theta, out = case(SHAPES[3])
    wanted = stn.warp(image, theta, "affine", out, backend="cpu")
    strided = image.transpose(2, 3).contiguous().transpose(2, 3)
    assert torch.equal(stn.warp(strided, theta, "affine", out, backend="cpu"), wanted)
    for dtype in (torch.float16, torch.bfloat16):
        half = image.to(dtype)
        found = stn.warp(half, theta, "affine", out, backend="cpu")
        assert found.dtype == dtype
        wide = stn.warp(half.float(), theta, "affine", out, backend="cpu")
        assert torch.equal(found, wide.to(dtype))


def test_compile_keeps_the_operator_whole():
    image, theta, out = case(SHAPES[4])
    theta.requires_grad_()

    def function(image, theta):
        return stn.warp(image, theta, "affine", out)

    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph

    torch.compile(function, fullgraph=True, backend=backend)(image, theta)
    called = {n.target for n in graphs[0].graph.nodes if n.op == "call_function"}
    assert torch.ops.stn.warp_matrix.default in called
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    found, wanted = compiled(image, theta), function(image, theta)
    assert torch.equal(found, wanted)
    grads = [torch.autograd.grad(x.square().sum(), theta)[0] for x in (found, wanted)]
    assert torch.equal(*grads)


def test_operators_pass_torchs_own_check():
    image, theta, out = case(SHAPES[2], torch.float64)
    matrix = theta.unflatten(1, (2, 3)).requires_grad_()
    image.requires_grad_()
    grid = torch.randn(3, 2, 2, 2, dtype=torch.float64, requires_grad=True)
    fill = torch.rand(1, 2, 1, dtype=torch.float64)
    tests = ("test_schema", "test_faketensor", "test_autograd_registration")
    for fill_or_none, padding in ((None, "zeros"), (fill, "fill")):
        rest = ("bilinear", padding, fill_or_none, False, "cpu")
        torch.library.opcheck(
            torch.ops.stn.warp_matrix, (image, matrix, list(out), *rest), test_utils=tests
        )
        torch.library.opcheck(torch.ops.stn.sample_grid, (image, grid, *rest), test_utils=tests)


class TestChoice:
    def test_auto_is_cpu_where_it_can_be(self, monkeypatch):
        used = []
        real = functional.resolve_backend
        monkeypatch.setattr(
            functional, "resolve_backend", lambda *a: used.append(real(*a)) or used[-1]
        )
        image, theta, out = case(SHAPES[3])
        stn.warp(image, theta, "affine", out)
        stn.warp(image, theta, "affine", out, backend="eager")
        torch.func.vmap(lambda i: stn.warp(i[None], theta[:1], "affine", out))(image)
        stn.warp(torch.rand(1, 1, 2, 2, 2), torch.zeros(1, 12), stn.Affine(3), kernel="bicubic")
        assert used[:2] == ["cpu", "eager"]
        assert set(used[2:]) == {"eager"}

    def test_named_but_lacking(self):
        with pytest.raises(BackendError, match="backend='cpu' has no bicubic kernel for 3-D"):
            stn.warp(
                torch.rand(1, 1, 2, 2, 2), torch.zeros(1, 12), stn.Affine(3),
                kernel="bicubic", backend="cpu",
            )  # fmt: skip

    def test_without_a_build_auto_says_once_that_it_is_eager(self, monkeypatch):
        monkeypatch.setattr(load, "LIBRARY", None)
        monkeypatch.setattr(load, "WHY", "not built; do this")
        backends._warn_once.cache_clear()
        monkeypatch.setattr(plan, "_CALLS", {})
        image, theta, out = case(SHAPES[3])
        with pytest.warns(backends.EagerWarning, match="running eager: not built; do this"):
            stn.warp(image, theta, "affine", out)
        stn.warp(image, theta, "affine", out)  # a second warning would be an error
        with pytest.raises(BackendError, match="'cpu' is not available: not built; do this"):
            stn.warp(image, theta, "affine", out, backend="cpu")
        backends._warn_once.cache_clear()


@pytest.mark.parametrize("kernel", ["bilinear", "bicubic"])
@pytest.mark.parametrize("channels", [1, 8])
def test_the_same_bits_where_a_vector_is_partly_off_a_filled_image(monkeypatch, channels, kernel):
    image = torch.rand(1, channels, 300, 300)
    if channels == 8:
        image = image.contiguous(memory_format=torch.channels_last)
    theta = torch.tensor([[1.1, 0.31, 0.2, -0.27, 1.2, 0.1]])
    options = {"kernel": kernel, "padding": "fill", "fill": 0.1}
    found = []
    for level in range(load.LIBRARY.stn_level() + 1):
        monkeypatch.setattr(launch, "LEVEL", level)
        found.append(results(image, theta, (24, 24), "cpu", **options))
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


@pytest.mark.parametrize("channels", [1, 3, 9])
@pytest.mark.parametrize("size", [(8, 8), (300, 301), (5, 6, 7)], ids=str)
@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e300])
def test_theta_that_is_not_finite_has_gradient_zero_whatever_comes_back(channels, size, bad):
    image = torch.rand(2, channels, *size, dtype=torch.float64)
    transform = stn.Affine(dims=len(size))
    theta = transform.identity().double().repeat(2, 1)
    theta[0, 0] = bad
    found = {}
    for backend in ("cpu", "eager"):
        leaf = theta.clone().requires_grad_()
        out = stn.warp(image, leaf, transform, (4,) * len(size), backend=backend)
        grad = torch.ones_like(out)
        grad[0].view(-1)[::3] = math.inf
        found[backend] = torch.autograd.grad(out, leaf, grad)[0]
    if bad != 1e300:
        assert not found["cpu"][0].any()
    torch.testing.assert_close(found["cpu"][1], found["eager"][1], rtol=1e-9, atol=1e-9)


def test_pixels_behind_the_camera_have_gradient_zero_whatever_comes_back():
    image = torch.rand(1, 1, 8, 8, dtype=torch.float64)
    theta = torch.tensor([[1.0, 0, 0, 0, 1, 0, 0, 1.5]], dtype=torch.float64)
    for backend in ("cpu", "eager"):
        leaf = theta.clone().requires_grad_()
        out = stn.warp(image, leaf, "projective", backend=backend)
        grad = torch.zeros_like(out)
        grad[0, 0, 0] = math.inf  # all of this row is behind it
        (found,) = torch.autograd.grad(out, leaf, grad)
        assert not found.any(), backend
