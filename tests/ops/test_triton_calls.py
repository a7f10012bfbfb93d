"""What the Triton backend is asked for, by whom, and what it refuses."""

import pytest
import torch
from tests.ops.triton_cases import (
    DEVICE,
    both,
    forward,
    launch,
    matrices,
    random,
)

import spatial_transformer as stn
from spatial_transformer.ops import triton as package
from spatial_transformer.transforms.matrix import grid_from_matrix

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("interpreted")]


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
