"""The operators and the way past torch's dispatcher."""

from functools import partial

import pytest
import torch
from torch.autograd import profiler_legacy
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode

import spatial_transformer as stn
from spatial_transformer.ops.autograd import warp_matrix
from spatial_transformer.ops.cpu import load
from spatial_transformer.ops.torch_internals import needs_dispatcher

pytestmark = pytest.mark.skipif(load.LIBRARY is None, reason=f"no C++ backend: {load.WHY}")


class DispatchRecorder(TorchDispatchMode):
    """Writes down which operators are called."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.append(str(function))
        return function(*args, **(kwargs or {}))


def case():
    image = torch.rand(2, 3, 9, 8, requires_grad=True)
    identity = stn.Affine().identity()
    theta = (identity + 0.2 * torch.randn(2, 6)).requires_grad_()
    return image, theta, torch.randn(2, 3, 7, 6)


def step(image, theta, grad, by=None):
    if by is None:
        out = stn.warp(image, theta, "affine", (7, 6))
    else:
        matrix = theta.view(2, 2, 3)
        out = by(image, matrix, [7, 6], "bilinear", "zeros", None, False, "cpu")
    return (out, *torch.autograd.grad(out, (image, theta), grad))


def test_both_ways_give_the_same_bits():
    inputs = case()
    assert not needs_dispatcher(*inputs)
    for one, other in zip(step(*inputs), step(*inputs, torch.ops.stn.warp_matrix), strict=True):
        assert torch.equal(one, other)
    image, theta, grad = inputs
    grid = stn.Affine().grid(theta.detach(), (7, 6)).requires_grad_()
    found = []
    for read in (
        lambda: stn.sample(image, grid),
        lambda: torch.ops.stn.sample_grid(image, grid, "bilinear", "zeros", None, False, "cpu"),
    ):
        out = read()
        found.append((out, *torch.autograd.grad(out, (image, grid), grad)))
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


def test_a_mode_sees_the_operators():
    inputs = case()
    with DispatchRecorder() as seen:
        out, *_ = step(*inputs)
    assert "stn.warp_matrix.default" in seen.names
    assert "stn.warp_matrix_backward.default" in seen.names
    assert torch.equal(out, step(*inputs)[0])


def profiled(profiler, run):
    """Our events: by their names the shapes of tensors and the other inputs that are told."""
    with profiler as profile:
        run()
    events = getattr(profile, "profiler", profile).function_events
    return {e.name: (e.input_shapes, e.concrete_inputs) for e in events if "stn::" in e.name}


@pytest.mark.parametrize("profiler", [torch.profiler.profile, torch.autograd.profiler.profile])
def test_profilers_see_of_direct_calls_what_they_see_of_operators(profiler):
    image, theta, grad = case()
    matrix = theta.detach().view(2, 2, 3).requires_grad_()
    grid = stn.Affine().grid(theta.detach(), (7, 6)).requires_grad_()
    options = ("bilinear", "zeros", None, False, "cpu")
    ways = {
        "warp_matrix": (
            matrix,
            lambda: torch.ops.stn.warp_matrix(image, matrix, [7, 6], *options),
            lambda: warp_matrix(image, matrix, (7, 6), *options),
        ),
        "sample_grid": (
            grid,
            lambda: torch.ops.stn.sample_grid(image, grid, *options),
            lambda: stn.sample(image, grid),
        ),
    }
    for name, (maps, *calls) in ways.items():

        def gradients(call, maps=maps):
            torch.autograd.grad(call(), (image, maps), grad)

        dispatched, direct = (
            profiled(profiler(record_shapes=True), partial(gradients, call)) for call in calls
        )
        assert direct.keys() == {f"stn::{name}", f"stn::{name}_backward"}
        assert direct == dispatched
        shapes, others = direct[f"stn::{name}_backward"]
        assert shapes[:3] == [[2, 3, 7, 6], [2, 3, 9, 8], list(maps.shape)]
        assert others[-2:] == [True, True]
        with torch.no_grad():
            alone = profiled(profiler(record_shapes=True), calls[1])
        assert alone == {f"stn::{name}": dispatched[f"stn::{name}"]}


def profile_all_threads():
    try:
        config = torch._C._profiler._ExperimentalConfig(profile_all_threads=True)
    except TypeError:
        pytest.skip(f"torch {torch.__version__} has no such profiler")
    return torch.profiler.profile(experimental_config=config)


@pytest.mark.parametrize("profiler", [profile_all_threads, profiler_legacy.profile])
def test_profilers_that_write_no_shapes_down_see_warps_too(profiler):
    seen = profiled(profiler(), lambda: step(*case()))
    assert seen.keys() == {"stn::warp_matrix", "stn::warp_matrix_backward"}


def test_subclasses_go_by_way_of_the_dispatcher():
    class Mine(torch.Tensor):
        pass

    image, theta, _ = case()
    assert needs_dispatcher(image.detach().as_subclass(Mine), theta)
    assert needs_dispatcher(image, theta.detach().as_subclass(Mine))
    assert not needs_dispatcher(torch.nn.Parameter(image.detach()), theta)
    warped = stn.warp(image.detach().as_subclass(Mine), theta, "affine")
    assert isinstance(warped, Mine)


def test_a_trace_holds_the_operator_of_a_backend_that_was_named():
    image, theta, _ = (tensor.detach() for tensor in case())

    def trace(backend):
        return torch.jit.trace(
            lambda image, theta: stn.warp(image, theta, "affine", backend=backend), (image, theta)
        )

    traced = trace("cpu")
    assert "stn::warp_matrix" in str(traced.graph)
    assert "stn::" not in str(trace("auto").graph)  # tests/export/test_trace.py
    other = theta + 0.1
    assert torch.equal(traced(image, other), stn.warp(image, other, "affine"))


def test_batched_gradients_and_negated_images_go_by_way_of_the_dispatcher():
    image, theta, _ = case()
    theta = theta.detach()

    def of_theta(theta, backend="auto"):
        return stn.warp(image.detach(), theta, "affine", (3, 2), backend=backend)

    found = torch.autograd.functional.jacobian(of_theta, theta, vectorize=True)
    wanted = torch.autograd.functional.jacobian(lambda t: of_theta(t, "eager"), theta)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    whole = torch.complex(image.detach(), image.detach() + 1)
    imaginary = whole.conj().imag
    assert imaginary.is_neg()
    for negated in (imaginary, torch._neg_view(image.detach())):
        assert torch.equal(stn.warp(negated, theta, "affine"), stn.warp(+negated, theta, "affine"))
    assert needs_dispatcher(torch._efficientzerotensor((2, 3, 9, 8)))
    assert needs_dispatcher(image.detach().to_mkldnn())


def test_a_graph_of_a_gradient_has_the_operator_and_not_its_result():
    image, theta, _ = case()

    def gradient(image, theta):
        leaf = theta.detach().requires_grad_()
        out = stn.warp(image, leaf, "affine", (7, 6))
        return torch.autograd.grad(out.sum(), leaf)[0]

    inputs = image.detach(), theta.detach()
    graph = make_fx(gradient, pre_dispatch=True)(*inputs)
    assert torch.equal(graph(3 * inputs[0], inputs[1]), gradient(3 * inputs[0], inputs[1]))
