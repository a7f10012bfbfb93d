"""Calls alike are checked once; what is not alike is."""

import gc
import weakref

import numpy as np
import pytest
import torch

import spatial_transformer as stn
from spatial_transformer import functional
from spatial_transformer.errors import OptionError
from spatial_transformer.ops import plan
from spatial_transformer.ops.cpu import load

pytestmark = pytest.mark.skipif(load.LIBRARY is None, reason=f"no C++ backend: {load.WHY}")


@pytest.fixture(autouse=True)
def nothing_known():
    plan._CALLS.clear()
    yield
    plan._CALLS.clear()


@pytest.fixture
def checks(monkeypatch):
    """The calls that were checked."""
    seen = []
    check = functional.check_options
    monkeypatch.setattr(functional, "check_options", lambda *a: seen.append(a) or check(*a))
    return seen


def call(**changes):
    theta = stn.Affine().identity() + 0.1
    options = {"image": torch.rand(2, 3, 6, 6), "theta": theta.repeat(2, 1), "size": (4, 4)}
    options = {**options, "transform": "affine", **changes}
    return stn.warp(**options)


def test_calls_alike_are_checked_once(checks):
    for size in ((4, 4), [4, 4], torch.Size((4, 4)), (4, 4)):
        call(size=size)
    assert len(checks) == 1
    call(image=torch.rand(2, 3, 6, 5))
    call(size=4)
    call(size=None)
    call(padding="border")
    call(transform=stn.Affine())
    call(image=torch.rand(2, 3, 6, 6, dtype=torch.float64))
    assert len(checks) == 7


def test_a_size_that_changes_is_looked_at(checks):
    n = torch.tensor(3)
    assert call(size=(n, n)).shape[2:] == (3, 3)
    n.fill_(5)
    assert call(size=(n, n)).shape[2:] == (5, 5)


def test_those_of_a_layer_are_checked_once(checks):
    layer = stn.SpatialTransformer("fully_connected", "affine", (4, 4))
    image = torch.rand(2, 3, 6, 6)
    for _ in range(3):
        layer(image)
    assert len(checks) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"fill": 0.5, "padding": "border"},
        {"antialias": True},
        {"kernel": stn.make_sampler("bicubic").kernel},
        {"size": np.array([4, 4])},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_cannot_be_told_to_be_alike_is_checked(checks, changes):
    call(**changes)
    call(**changes)
    assert len(checks) == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"align_corners": 0},
        {"image": torch.rand(2, 3, 6)},
        {"size": 4.0},
        {"size": True},
        {"size": (4, 4, 4)},
        {"size": (4, -4)},
        {"kernel": "none"},
        {"padding": "none"},
        {"padding": "fill"},
        {"backend": "none"},
        {"transform": "none"},
        {"theta": torch.zeros(3, 6)},
        {"theta": torch.zeros(2, 7)},
        {"theta": torch.zeros(2, 6, dtype=torch.int64)},
        {"theta": [[1.0, 0, 0, 0, 1, 0]]},
        {"image": torch.zeros(2, 3, 6, 6, dtype=torch.int64)},
        {"image": np.zeros((2, 3, 6, 6))},
        {"image": None},
        {"theta": None},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_bad_call_is_refused_after_good_ones_as_before(changes):
    with pytest.raises(stn.SpatialTransformerError) as before:
        call(**changes)
    call()
    call(size=4)
    call(size=1)
    with pytest.raises(type(before.value)) as after:
        call(**changes)
    assert str(after.value) == str(before.value)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"theta": torch.rand(2, 5, 6)},
        {"theta": torch.rand(1, 6, dtype=torch.float16)},
        {"theta": torch.rand(2, 6, dtype=torch.float64)},
        {"image": torch.rand(2, 3, 6, 6, dtype=torch.bfloat16)},
        {"image": torch.rand(2, 3, 6, 6).to(memory_format=torch.channels_last)},
        {"transform": "projective", "theta": torch.rand(2, 8)},
        {"transform": stn.Affine(fixed={"a12": 0.5}), "theta": torch.rand(2, 5)},
        {"transform": stn.Attention(), "theta": torch.tensor([[0.5, float("nan"), 0.1]])},
    ],
    ids=range(9),
)
def test_the_same_comes_out(changes):
    image = changes.get("image", torch.rand(2, 3, 6, 6)).requires_grad_()
    theta = changes.get("theta", stn.Affine().identity().repeat(2, 1)).requires_grad_()
    results = []
    for _ in range(2):
        out = call(**{**changes, "image": image, "theta": theta})
        results.append((out, *torch.autograd.grad(out.float().square().sum(), (image, theta))))
    assert len(plan._CALLS) == 1
    for one, other in zip(*results, strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)


def test_transforms_of_torch_func_and_forward_mode_after_a_call_alike():
    image, theta = torch.rand(2, 3, 6, 6), torch.rand(2, 6)
    plain = stn.warp(image, theta, "affine", (4, 4))
    stn.warp(image[:1], theta[:1], "affine", (4, 4))
    each = torch.func.vmap(lambda i, t: stn.warp(i[None], t[None], "affine", (4, 4))[0])
    torch.testing.assert_close(each(image, theta), plain)
    _, change = torch.func.jvp(
        lambda t: stn.warp(image, t, "affine", (4, 4)), (theta,), (torch.ones_like(theta),)
    )
    assert change.abs().sum() > 0
    with torch.inference_mode():
        assert torch.equal(stn.warp(image, theta, "affine", (4, 4)), plain)


def test_a_transform_with_checks_of_its_own_is_checked_each_time():
    class Careful(stn.Affine):
        def check_theta(self, theta):
            if (theta > 1).any():
                raise OptionError("too large")
            return super().check_theta(theta).clamp(-1, 1)

    transform, theta = Careful(), torch.full((2, 6), -3.0)
    image = torch.rand(2, 3, 6, 6)
    first, second = (call(image=image, transform=transform, theta=theta) for _ in range(2))
    assert torch.equal(first, second)
    with pytest.raises(OptionError):
        call(transform=transform, theta=-theta)


def test_a_transform_with_a_matrix_of_its_own_has_it():
    class Doubled(stn.Affine):
        def _matrix(self, full):
            return 2 * super()._matrix(full)

    theta = torch.rand(2, 6) / 2
    for _ in range(2):
        image = torch.rand(2, 3, 6, 6)
        ours = call(image=image, theta=theta, transform=Doubled())
        torch.testing.assert_close(ours, call(image=image, theta=2 * theta))


def test_transforms_are_not_kept():
    transform = stn.Affine()
    call(transform=transform)
    left = weakref.ref(transform)
    del transform
    gc.collect()
    assert left() is None
    call(transform=stn.Affine())  # whose identity may be the same


def test_few_are_remembered():
    for n in range(plan._MOST + 20):
        call(size=(1 + n, 2))
    assert 0 < len(plan._CALLS) <= plan._MOST
