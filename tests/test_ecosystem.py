"""torch.compile, torch.func, autocast, fake tensors, and torch's own samples for grid_sample."""

import copy
import pickle
from functools import partial

import pytest
import torch
from tests.conformance import build, dims_of
from torch.autograd import forward_ad

import spatial_transformer as stn
from spatial_transformer.cache import BASES

KERNELS = stn.list_samplers()


def inputs(dims=2, batch=3):
    image = torch.rand(batch, 2, *(5, 8, 9)[-dims:])
    return image, (3, 6, 7)[-dims:]


def near(transform, batch=3):
    return transform.identity() + 0.05 * torch.randn(batch, transform.num_params)


def grid_samples():
    from torch.testing._internal.common_methods_invocations import op_db  # takes seconds

    (info,) = [op for op in op_db if op.name == "nn.functional.grid_sample"]
    samples = list(info.sample_inputs("cpu", torch.float64, requires_grad=True))
    assert len(samples) >= 20
    # torch has no tricubic to compare with
    return [s for s in samples if s.kwargs.get("mode") != "bicubic" or s.input.dim() == 4]


@pytest.mark.slow
def test_torchs_own_samples():
    """Values and gradients as torch's, and gradcheck, gradgradcheck."""
    for sample in grid_samples():
        image, grid = sample.input, sample.args[0]
        mode = sample.kwargs.get("mode", "bilinear")
        options = {
            "kernel": mode,
            "padding": sample.kwargs.get("padding_mode", "zeros"),
            "align_corners": sample.kwargs.get("align_corners", False) or False,
        }
        theirs = torch.nn.functional.grid_sample(
            image, grid, mode, options["padding"], options["align_corners"]
        )
        ours = stn.sample(image, grid, **options)
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12, msg=str(options))
        image = image.detach().requires_grad_()
        grid = grid.detach().requires_grad_()
        function = partial(stn.sample, **options)
        assert torch.autograd.gradcheck(function, (image, grid), atol=1e-6, fast_mode=True)
        assert torch.autograd.gradgradcheck(function, (image, grid), atol=1e-5, fast_mode=True)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
class TestCompile:
    """fullgraph: a graph break is an error."""

    def compiled(self, function):
        torch._dynamo.reset()
        return torch.compile(function, fullgraph=True, backend="aot_eager")

    @pytest.mark.parametrize("name", stn.list_transforms())
    def test_every_transform(self, name):
        for dims in dims_of(name):
            t = build(name, dims)
            image, size = inputs(dims)
            theta = near(t).requires_grad_()

            def warp(image, theta, t=t, size=size):
                return stn.warp(image, theta, t, size)

            found, wanted = self.compiled(warp)(image, theta), warp(image, theta)
            torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
            grads = [torch.autograd.grad(x.square().sum(), theta)[0] for x in (found, wanted)]
            torch.testing.assert_close(*grads, rtol=1e-3, atol=1e-3)

    @pytest.mark.parametrize("name", stn.list_transforms())
    def test_every_transform_by_name(self, name):
        image, size = inputs()
        theta = near(stn.make_transform(name))

        def warp(image, theta):
            return stn.warp(image, theta, name, size)

        BASES.clear()  # as in a process that has called none by name yet
        found = self.compiled(warp)(image, theta)
        torch.testing.assert_close(found, warp(image, theta), rtol=0, atol=1e-5)

    @pytest.mark.parametrize("kernel", KERNELS)
    def test_every_kernel(self, kernel):
        image, _ = inputs()
        grid = torch.rand(3, 4, 5, 2) * 2 - 1
        for padding in ("zeros", "mirror"):

            def sample(image, grid, padding=padding):
                return stn.sample(image, grid, kernel=kernel, padding=padding)

            found = self.compiled(sample)(image, grid)
            torch.testing.assert_close(found, sample(image, grid), rtol=0, atol=1e-5)

    @pytest.mark.parametrize("fill", [3, [3, 4, 5]], ids=str)
    def test_integers_with_a_fill(self, fill):
        image, grid = torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.full((2, 2, 2, 2), 5.0)

        def sample(image, grid):
            return stn.sample(image, grid, kernel="nearest", padding="fill", fill=fill)

        assert torch.equal(self.compiled(sample)(image, grid), sample(image, grid))
        assert sample(image.to("meta"), grid.to("meta")).shape == (2, 3, 2, 2)

    @pytest.mark.parametrize("kernel", ["lanczos", "bspline3", "bicubic"])
    def test_sizes_that_may_change(self, kernel):
        torch._dynamo.reset()
        theta = torch.tensor([[1.0, 0.1, 0, 0, 1, 0]])

        def warp(image):
            return stn.warp(image, theta, "affine", kernel=kernel)

        compiled = torch.compile(warp, fullgraph=True, dynamic=True, backend="aot_eager")
        for size in ((9, 10), (7, 12)):
            image = torch.rand(1, 1, *size)
            torch.testing.assert_close(compiled(image), warp(image), rtol=0, atol=1e-5)

    def test_a_layer_that_has_seen_no_image(self):
        for name in stn.list_localisations():
            image = torch.rand(2, 1, 28, 28)
            assert torch.equal(self.compiled(stn.SpatialTransformer(name))(image), image)

    def test_a_layer_in_a_network_and_antialias(self):
        layer = stn.SpatialTransformer("convolutional", "affine", (14, 14), antialias=2)
        image = torch.rand(2, 1, 28, 28)
        wanted = layer(image)
        torch.testing.assert_close(self.compiled(layer)(image), wanted, rtol=0, atol=1e-5)


@pytest.mark.slow
class TestCompiledFunc:
    """Derivatives inside of compiled functions and around them."""

    image = torch.arange(16.0).reshape(1, 1, 4, 4)

    def summed(self, theta):
        return stn.warp(self.image, theta, "translation", padding="border").sum()

    def compiled(self, function):
        torch._dynamo.reset()
        return torch.compile(function, backend="aot_eager")

    @pytest.mark.parametrize("make", [torch.func.grad, torch.func.jacfwd, torch.func.jacrev])
    def test_functions_of_torch_func(self, make):
        theta = torch.full((1, 2), 0.1)
        wanted = torch.tensor([[24.0, 96.0]])  # the slopes, 1 and 4 a pixel, times 12 inner pixels
        torch.testing.assert_close(make(self.summed)(theta), wanted)
        torch.testing.assert_close(self.compiled(make(self.summed))(theta), wanted)

    def test_jvp_vmap_and_grid(self):
        theta, along = torch.full((1, 2), 0.1), torch.tensor([[1.0, 0.0]])
        jvp = self.compiled(lambda x: torch.func.jvp(self.summed, (x,), (along,))[1])
        torch.testing.assert_close(jvp(theta), torch.tensor(24.0))
        each = torch.func.vmap(torch.func.grad(lambda x: self.summed(x[None])))
        found = self.compiled(each)(theta.repeat(3, 1))
        torch.testing.assert_close(found, torch.tensor([[24.0, 96.0]]).repeat(3, 1))
        grid = stn.Affine().grid(stn.Affine().identity()[None], (3, 3))
        sampled = lambda g: stn.sample(self.image, g).sum()  # noqa: E731
        wanted = torch.func.grad(sampled)(grid)
        torch.testing.assert_close(self.compiled(torch.func.grad(sampled))(grid), wanted)

    def test_dual_numbers_through_a_compiled_function(self):
        theta, along = torch.full((1, 2), 0.1), torch.tensor([[1.0, 0.0]])
        warp = self.compiled(self.summed)
        warp(theta)  # compiled without them
        with forward_ad.dual_level():
            out = warp(forward_ad.make_dual(theta, along))
            torch.testing.assert_close(forward_ad.unpack_dual(out).tangent, torch.tensor(24.0))


class TestFunc:
    def test_vmap_equals_a_loop(self):
        image, size = inputs()
        for name in stn.list_transforms():
            t = build(name, 2)
            theta = near(t)
            loop = torch.stack(
                [stn.warp(i[None], p[None], t, size) for i, p in zip(image, theta, strict=True)]
            )
            mapped = torch.func.vmap(lambda i, p, t=t: stn.warp(i[None], p[None], t, size))(
                image, theta
            )
            torch.testing.assert_close(mapped, loop, rtol=0, atol=1e-5)

    @pytest.mark.parametrize("kernel", KERNELS)
    def test_jvp_equals_the_gradient(self, kernel):
        image = torch.rand(1, 1, 5, 6, dtype=torch.float64)
        grid = torch.rand(1, 2, 3, 2, dtype=torch.float64) * 1.6 - 0.8
        step = torch.randn_like(grid)

        def sample(g):
            return stn.sample(image, g, kernel=kernel)

        _, forward = torch.func.jvp(sample, (grid,), (step,))
        jacobian = torch.func.jacrev(sample)(grid)
        backward = (jacobian * step).sum((-1, -2, -3, -4))
        torch.testing.assert_close(forward, backward, rtol=0, atol=1e-9)

    def test_per_sample_gradients(self):
        image, size = inputs()
        theta = near(stn.Affine())

        def loss(p, i):
            return stn.warp(i[None], p[None], "affine", size).square().sum()

        each = torch.func.vmap(torch.func.grad(loss))(theta, image)
        theta.requires_grad_()
        whole = stn.warp(image, theta, "affine", size).square().sum()
        torch.testing.assert_close(each, torch.autograd.grad(whole, theta)[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", stn.list_transforms())
def test_autocast_does_not_touch_the_coordinates(name):
    t = build(name, 2)
    theta, size = near(t), (40, 50)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        grid = t.grid(theta, size)
    assert grid.dtype == torch.float32
    torch.testing.assert_close(grid, build(name, 2).grid(theta, size), rtol=0, atol=1e-6)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("kernel", KERNELS)
def test_meta_and_fake_tensors_have_the_shape(kernel, dims):
    image, size = inputs(dims)
    t = stn.Affine(dims)
    theta = t.identity().expand(3, -1)
    meta = stn.warp(image.to("meta"), theta.to("meta"), t, size, kernel=kernel)
    assert meta.shape == (3, 2, *size)
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        fake = stn.warp(mode.from_tensor(image), mode.from_tensor(theta), t, size, kernel=kernel)
    assert fake.shape == (3, 2, *size)


@pytest.mark.parametrize("kernel", KERNELS)
def test_channels_last_is_kept(kernel):
    for dims, layout in ((2, torch.channels_last), (3, torch.channels_last_3d)):
        image, size = inputs(dims)
        t = stn.Affine(dims)
        out = stn.warp(image.contiguous(memory_format=layout), near(t), t, size, kernel=kernel)
        assert out.is_contiguous(memory_format=layout)


def test_half_images_stay_near_float32():
    """A float16 512x512 identity and rotation stay within 1e-3 of float32."""
    image = torch.rand(1, 1, 512, 512).half()
    for angle in (0.0, 0.3, 1.0):
        theta = torch.tensor([[angle, 1.0, 0.0, 0.0]])
        wide = stn.warp(image.float(), theta, "similarity")
        narrow = stn.warp(image, theta, "similarity")
        assert narrow.dtype == torch.float16
        assert (narrow.float() - wide).abs().max() < 1e-3
    assert torch.equal(stn.warp(image, torch.tensor([[0.0, 1, 0, 0]]).half(), "similarity"), image)


@pytest.mark.parametrize("order", range(2, 6))
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_splines_of_half_images_are_rounded_once(dtype, order):
    """Spline coefficients are larger than pixels: half precision has no room for them."""
    turns = torch.arange(32) % 2 * 2.0 - 1
    theta = torch.tensor([[1.0, 0.1, 0.03, 0, 1, 0]])
    for pixels in (3e4 * turns[:, None] * turns, torch.rand(32, 32)):
        image = pixels[None, None].to(dtype)
        options = {"kernel": f"bspline{order}", "padding": "mirror"}
        wide = stn.warp(image.double(), theta.double(), "affine", **options)
        narrow = stn.warp(image, theta, "affine", **options)
        allowed = 0.6 * torch.finfo(dtype).eps * wide.abs() + 1e-5 * wide.abs().max()
        assert ((narrow.double() - wide).abs() <= allowed).all()


def test_samplers_copy_and_pickle():
    image, grid = torch.rand(1, 2, 5, 5), torch.rand(1, 3, 3, 2)
    for name in KERNELS:
        sampler = stn.make_sampler(name, padding="mirror")
        wanted = sampler(image, grid)
        assert torch.equal(copy.deepcopy(sampler)(image, grid), wanted)
        assert torch.equal(pickle.loads(pickle.dumps(sampler))(image, grid), wanted)
