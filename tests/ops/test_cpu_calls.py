"""What the C++ backend is asked for, by whom, and what it refuses."""

import pytest
import torch
from tests.ops.cpu_cases import SHAPES, case, results

import spatial_transformer as stn
from spatial_transformer import functional
from spatial_transformer.errors import BackendError
from spatial_transformer.ops import backend as backends
from spatial_transformer.ops import plan
from spatial_transformer.ops.cpu import launch, load

pytestmark = pytest.mark.skipif(load.LIBRARY is None, reason=f"no C++ backend: {load.WHY}")


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
