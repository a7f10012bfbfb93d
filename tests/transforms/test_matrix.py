"""The matrix families: grids against torch, inverses, compositions, fixed entries, bad input."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

import spatial_transformer as stn
from spatial_transformer.errors import DTypeError, OptionError, ShapeError, TransformError
from spatial_transformer.testing import check_transform
from spatial_transformer.testing.transforms import check_shapes

FAMILIES = ["translation", "attention", "rigid", "similarity", "affine", "projective"]
SPATIAL = [(n, d) for n in FAMILIES for d in (2, 3) if d in stn.make_transform(n).supported_dims]
SIZES = {2: [(1, 1), (5, 123), (1, 7), (8, 8)], 3: [(1, 1, 1), (2, 5, 13), (4, 4, 4)]}


def near_identity(transform, batch=3, spread=0.2, dtype=torch.float64):
    return transform.identity().to(dtype) + spread * torch.randn(
        batch, transform.num_params, dtype=dtype
    )


def homogeneous_points(size, align_corners):
    """The output pixels' centres by hand, (..., d + 1), float64, x first."""
    axes = []
    for n in size:
        i = torch.arange(n, dtype=torch.float64)
        axes.append(2 * i / max(n - 1, 1) - float(n > 1) if align_corners else (2 * i + 1) / n - 1)
    points = torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], dim=-1)
    return torch.cat([points, torch.ones_like(points[..., :1])], dim=-1)


@pytest.mark.filterwarnings("ignore:Since version 1.3.0")
@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("size", SIZES[2] + SIZES[3], ids=str)
def test_affine_grid_equals_torchs(size, align_corners):
    t = stn.Affine(dims=len(size))
    theta = near_identity(t)
    theirs = F.affine_grid(t.matrix(theta), (3, 1, *size), align_corners=align_corners)
    torch.testing.assert_close(t.grid(theta, size, align_corners), theirs, rtol=0, atol=1e-14)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize(("name", "dims"), SPATIAL)
def test_grid_is_the_matrix_applied_to_output_coordinates(name, dims, align_corners):
    t = stn.make_transform(name, dims=dims)
    theta = near_identity(t, spread=0.1)
    for size in SIZES[dims]:
        p = torch.einsum(
            "bij,...j->b...i", t.matrix(theta), homogeneous_points(size, align_corners)
        )
        wanted = p / p[..., -1:] if p.shape[-1] > dims else p
        grid = t.grid(theta, size, align_corners)
        torch.testing.assert_close(grid, wanted[..., :dims], rtol=0, atol=1e-13)


def test_each_family_has_the_matrix_the_paper_gives():
    angle, s, x, y = 0.3, 0.5, 0.1, -0.2
    c, n = s * math.cos(angle), s * math.sin(angle)
    for name, theta, matrix in [
        ("translation", [x, y], [[1, 0, x], [0, 1, y]]),
        ("attention", [s, x, y], [[s, 0, x], [0, s, y]]),
        ("similarity", [angle, s, x, y], [[c, -n, x], [n, c, y]]),
        ("affine", [1, 2, 3, 4, 5, 6], [[1, 2, 3], [4, 5, 6]]),
        ("projective", range(1, 9), [[1, 2, 3], [4, 5, 6], [7, 8, 1]]),
    ]:
        given_theta = torch.tensor([list(theta)], dtype=torch.float64)
        found = stn.make_transform(name).matrix(given_theta)
        torch.testing.assert_close(found, torch.tensor([matrix], dtype=torch.float64))


def test_theta_goes_from_output_to_input():
    """tx > 0 moves the window to the right, so the content moves to the left."""
    image = torch.arange(4.0).reshape(1, 1, 1, 4)
    moved = stn.warp(image, torch.tensor([[0.5, 0.0]]), "translation")  # 2 * 1 pixel / 4
    assert moved.flatten().tolist() == [1, 2, 3, 0]
    zoomed = stn.warp(image, torch.tensor([[0.5, 0.0, 0.0]]), "attention", kernel="nearest")
    assert zoomed.flatten().tolist() == [1, 1, 2, 2]


def test_positive_angle_turns_the_content_counter_clockwise():
    image = torch.rand(1, 1, 5, 5)
    quarter = torch.tensor([[math.pi / 2, 1.0, 0.0, 0.0]])
    assert torch.equal(stn.warp(image, quarter, "similarity"), torch.rot90(image, 1, (2, 3)))


@pytest.mark.parametrize(("name", "dims"), SPATIAL)
def test_inverse_undoes_and_compose_chains(name, dims):
    t = stn.make_transform(name, dims=dims)
    a, b = near_identity(t, spread=0.1), near_identity(t, spread=0.1)
    eye = t.identity().double().expand_as(a)
    torch.testing.assert_close(t.compose(a, t.inverse(a)), eye, rtol=0, atol=1e-12)
    torch.testing.assert_close(t.compose(t.inverse(a), a), eye, rtol=0, atol=1e-12)
    # T_compose(p) = T_a(T_b(p)) at points, by hand
    points = homogeneous_points(SIZES[dims][-1], False).flatten(0, -2)

    def apply(theta, p):
        q = torch.einsum("bij,b...j->b...i", t.matrix(theta), p)
        if q.shape[-1] == dims:
            return torch.cat([q, torch.ones_like(q[..., :1])], -1)
        return q / q[..., -1:]

    chained = apply(a, apply(b, points.expand(3, -1, -1)))
    torch.testing.assert_close(
        apply(t.compose(a, b), points.expand(3, -1, -1)), chained, rtol=0, atol=1e-12
    )


@pytest.mark.parametrize(("name", "dims"), SPATIAL)
def test_gradients_to_theta(name, dims):
    t = stn.make_transform(name, dims=dims)
    theta = near_identity(t, 2, 0.05).requires_grad_()
    size = (2, 3, 4)[-dims:]
    tight = {"eps": 1e-6, "atol": 1e-8, "rtol": 1e-6}
    assert torch.autograd.gradcheck(lambda x: t.grid(x, size), theta, **tight)
    assert torch.autograd.gradgradcheck(lambda x: t.grid(x, size), theta, **tight)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(("name", "dims"), SPATIAL)
def test_a_theta_that_is_not_finite_is_outside_and_passes_no_gradient(name, dims, bad):
    t = stn.make_transform(name, dims=dims)
    for entry in range(t.num_params):
        theta = t.identity().repeat(2, 1)
        theta[0, entry] = bad
        theta.requires_grad_()
        image = torch.rand(2, 2, *(4, 5, 6)[-dims:])
        warped = stn.warp(image, theta, t, padding="border")
        assert torch.equal(warped[0], torch.zeros_like(image[0]))
        assert torch.equal(warped[1], image[1])
        warped.sum().backward()
        assert torch.equal(theta.grad[0], torch.zeros(t.num_params))
        assert torch.isfinite(theta.grad).all()


def test_horizon_and_behind_are_outside_without_nan_gradients():
    theta = torch.tensor([[1.0, 0, 0, 0, 1, 0, 2.0, 0]], requires_grad=True)  # p3 = 2 x + 1
    image = torch.ones(1, 1, 8, 8)
    warped = stn.warp(image, theta, "projective", padding="border")
    x = (2 * torch.arange(8) + 1) / 8 - 1
    assert torch.equal(warped[0, 0, 0], (2 * x + 1 > 0).float())
    (warped * torch.rand(8, 8)).sum().backward()
    assert torch.isfinite(theta.grad).all()


@pytest.mark.parametrize("backend", ["auto", "eager"])
@pytest.mark.parametrize("huge", [1e30, 1e35, 3e38])
def test_what_overflows_is_outside_and_passes_no_gradient(backend, huge):
    theta = torch.tensor([[1.0, 0, huge, 0, 1, 0, -0.8, -0.4]], requires_grad=True)
    for kernel, padding in (("bilinear", "zeros"), ("lanczos", "zeros"), ("lanczos", "border")):
        warped = stn.warp(
            torch.rand(1, 1, 16, 16), theta, "projective", (33, 33), kernel=kernel,
            padding=padding, backend=backend,
        )  # fmt: skip
        (grad,) = torch.autograd.grad(warped.sum(), theta)
        assert torch.isfinite(warped).all()
        assert torch.isfinite(grad).all()


class Lens(stn.Affine):
    """An affine map, then a barrel: more than its matrix."""

    def _grid(self, theta, size, align_corners):
        grid = super()._grid(theta, size, align_corners)
        return grid * (1 + 0.1 * grid.square().sum(-1, keepdim=True))


class Mirrored(stn.Similarity):
    def grid(self, theta, size, align_corners=False):
        return -super().grid(theta, size, align_corners)


class Other(stn.Similarity):
    def matrix(self, theta):
        return 2 * super().matrix(theta)


@pytest.mark.parametrize("family", [Lens, Mirrored, Other])
def test_a_subclass_that_maps_otherwise_is_read_by_its_own_grid(family):
    t, image = family(), torch.rand(2, 1, 8, 8)
    theta = near_identity(t, 2, dtype=torch.float32)
    wanted = stn.sample(image, t.grid(theta, (5, 6)))
    for _ in range(2):  # the second time it may be known
        torch.testing.assert_close(stn.warp(image, theta, t, (5, 6)), wanted)


class TestFixed:
    def test_fixed_entries_are_not_predicted(self):
        t = stn.Attention(fixed={"s": 0.5})
        assert t.num_params == 2
        assert t.param_names == ("tx", "ty")
        assert t.identity().tolist() == [0, 0]
        assert torch.equal(
            t.matrix(torch.tensor([[0.1, 0.2]])),
            stn.Attention().matrix(torch.tensor([[0.5, 0.1, 0.2]])),
        )

    @pytest.mark.parametrize(("name", "dims"), SPATIAL)
    def test_any_entry_of_any_family(self, name, dims):
        free = stn.make_transform(name, dims=dims)
        for i, entry in enumerate(free.param_names):
            full = near_identity(free, 2)
            full[:, i] = 0.25
            rest = torch.cat([full[:, :i], full[:, i + 1 :]], 1)
            for key in (entry, i):
                if free.num_params == 1:
                    continue
                t = stn.make_transform(name, dims=dims, fixed={key: 0.25})
                assert torch.equal(t.matrix(rest), free.matrix(full))

    def test_results_outside_the_family_are_refused(self):
        t = stn.Attention(fixed={"s": 0.5})
        with pytest.raises(
            TransformError, match=r"s other than the 0\.5 fixed in this 'attention'"
        ):
            t.inverse(torch.zeros(1, 2))
        one = stn.Attention(fixed={"s": 1.0})
        assert torch.equal(one.inverse(torch.tensor([[0.5, 0.0]])), torch.tensor([[-0.5, 0.0]]))

    def test_what_is_not_finite_contradicts_nothing(self):
        theta = torch.tensor([[0.1, 0.2], [math.nan, 0.0]])
        found = stn.Attention(fixed={"s": 1.0}).compose(theta, theta)
        torch.testing.assert_close(found[0], 2 * theta[0])
        assert found[1].isnan().all()
        assert stn.Affine(fixed={"a12": 0.0}).inverse(torch.zeros(1, 5)).isnan().all()

    @pytest.mark.parametrize(
        "t",
        [stn.Attention(fixed={"s": 1.0}), stn.Bounded(stn.Attention(), {"s": (0.5, 2.0)})],
        ids=["fixed", "bounded"],
    )
    def test_results_need_not_be_looked_at(self, t):
        theta = 0.1 * torch.randn(3, t.num_params)
        wanted = t.compose(theta, theta.flip(0))
        compose = torch.compile(t.compose, fullgraph=True, backend="aot_eager")
        torch.testing.assert_close(compose(theta, theta.flip(0)), wanted)
        each = torch.vmap(lambda a, b: t.compose(a[None], b[None])[0])
        torch.testing.assert_close(each(theta, theta.flip(0)), wanted)
        assert t.compose(theta.to("meta"), theta.to("meta")).shape == wanted.shape

    def test_bad_options(self):
        with pytest.raises(OptionError, match="no parameter 'scale'; it has s, tx, ty"):
            stn.Attention(fixed={"scale": 1.0})
        with pytest.raises(OptionError, match="nothing to predict"):
            stn.Translation(fixed={"tx": 0, "ty": 0})


@settings(max_examples=50, deadline=None)
@given(
    angle=st.floats(-3, 3),
    s=st.floats(0.2, 5),
    tx=st.floats(-1, 1),
    ty=st.floats(-1, 1),
)
def test_similarity_survives_the_way_through_its_matrix(angle, s, tx, ty):
    t = stn.Similarity()
    theta = torch.tensor([[angle, s, tx, ty]], dtype=torch.float64)
    torch.testing.assert_close(t.from_matrix(t.matrix(theta)), theta, rtol=1e-12, atol=1e-12)


def test_n_transforms_are_n_grids():
    theta = torch.randn(2, 3, 6)
    t = stn.Affine()
    many = t.grid(theta, (4, 5))
    assert many.shape == (2, 3, 4, 5, 2)
    for n in range(3):
        assert torch.equal(many[:, n], t.grid(theta[:, n], (4, 5)))


def test_half_precision_theta_gives_a_float32_grid():
    for dtype in (torch.float16, torch.bfloat16):
        grid = stn.Affine().grid(stn.Affine().identity()[None].to(dtype), (3, 512))
        assert grid.dtype == torch.float32
        assert torch.equal(grid, stn.Affine().grid(stn.Affine().identity()[None], (3, 512)))


def test_bad_theta_is_named():
    t = stn.Affine()
    with pytest.raises(ShapeError, match=r"theta must be \(B, 6\).*'affine', got \(2, 5\)"):
        t.grid(torch.zeros(2, 5), (4, 4))
    with pytest.raises(ShapeError, match=r"got \(6,\)"):
        t.grid(torch.zeros(6), (4, 4))
    with pytest.raises(DTypeError, match="floating point, got torch.int64"):
        t.grid(torch.zeros(2, 6, dtype=torch.int64), (4, 4))
    with pytest.raises(ShapeError, match=r"size must be \(H', W'\) of 2 whole numbers"):
        t.grid(torch.zeros(2, 6), (4, -1))
    with pytest.raises(ShapeError, match="got 'ab'"):
        t.grid(torch.zeros(2, 6), "ab")
    with pytest.raises(OptionError, match="'projective' works with dims=2, got dims=3"):
        stn.make_transform("projective", dims=3)


@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_not_finite_has_no_gradient(name):
    family = stn.make_transform(name)
    start = family.identity().double()
    good = (start + 0.1 * torch.randn(3, len(start), dtype=torch.float64)).requires_grad_()
    other = (start + 0.1 * torch.randn(3, len(start), dtype=torch.float64)).requires_grad_()
    composed, inverse = family.compose(good, other), family.inverse(good)
    alone = torch.autograd.grad(composed[0].sum() + inverse[0].sum(), (good, other))

    bad = good.detach().clone()
    bad[1, 0], bad[2, -1] = math.nan, math.inf
    bad.requires_grad_()
    composed, inverse = family.compose(bad, other), family.inverse(bad)
    assert composed[1:].isnan().all()
    assert inverse[1:].isnan().all()
    # a stage after it: NaN stays NaN, whichever side it is on
    again = family.compose(composed, other) + family.compose(other, composed) + inverse
    loss = composed[0].sum() + inverse[0].sum()
    loss = loss + torch.where(again[1:].isfinite(), again[1:], 0).sum()
    for gradient, expected in zip(torch.autograd.grad(loss, (bad, other)), alone, strict=True):
        torch.testing.assert_close(gradient[0], expected[0], rtol=0, atol=0)
        assert not gradient[1:].any()


@pytest.mark.parametrize("scale", [0.0, -1.0])
def test_compositions_at_the_horizon_have_no_gradient(scale):
    t = stn.Projective()
    outer = t.identity().double().repeat(2, 1)
    outer[1, 6] = scale - 1  # h31, at x = 1 times h13
    inner = t.identity().double().repeat(2, 1)
    inner[1, 2] = 1.0
    outer.requires_grad_(), inner.requires_grad_()
    composed = t.compose(outer, inner)
    assert composed[0].isfinite().all()
    assert composed[1].isnan().all()
    loss = composed[0].sum() + torch.where(composed[1].isfinite(), composed[1], 0).sum()
    for gradient in torch.autograd.grad(loss, (outer, inner)):
        assert gradient[0].isfinite().all()
        assert not gradient[1].any()


def test_singular_matrices_invert_to_nan():
    assert stn.Affine().inverse(torch.zeros(1, 6)).isnan().all()


def test_a_homography_without_its_middle_is_not_told_as_another():
    """Where h33 of a product or an inverse is not positive, no theta has that map: with the sign
    changed, it would show what lies behind."""
    t = stn.Projective()
    outer = torch.tensor([[1, 0, 0, 0, 1, 0, 1.2, 0.0]])
    inner = torch.tensor([[1, 0, -0.9, 0, 1, 0, 0, 0.0]])
    assert t.compose(outer, inner).isnan().any()
    turned = torch.tensor([[1, 0, 1.2, 0, 1, 0, 1.2, 0.0]])
    assert t.inverse(turned).isnan().any()
    both = t.inverse(torch.cat([turned, t.identity()[None]]))
    assert torch.equal(both[1], t.identity())
    # a homography from elsewhere is known up to its sign
    matrix = t.matrix(turned)
    torch.testing.assert_close(t.from_matrix(-3 * matrix), turned)


def test_a_negative_scale_in_space_mirrors():
    t = stn.Similarity(dims=3)
    theta = torch.tensor([[0.3, -0.2, 0.5, -0.7, 0.1, 0.2, 0.3]], dtype=torch.float64)
    torch.testing.assert_close(t.from_matrix(t.matrix(theta)), theta)
    eye = t.matrix(t.compose(theta, t.inverse(theta)))
    torch.testing.assert_close(eye, t.matrix(t.identity()[None].double()), rtol=0, atol=1e-12)


def test_fixed_entries_may_leave_no_identity():
    assert stn.Attention(fixed={"s": 1.0}).has_identity
    assert not stn.Attention(fixed={"s": 0.5}).has_identity
    check_transform(stn.Attention(fixed={"s": 0.5}))


def test_a_mesh_that_does_not_cover_all_is_no_mistake():
    points, triangle = torch.tensor([[-1.0, -1], [1, -1], [0, 1]]), torch.tensor([[0, 1, 2]])
    check_shapes(stn.PiecewiseAffine(points=points, triangles=triangle))


def test_a_wrong_gradient_is_an_assertion():
    class Wrong(stn.Affine):
        def _matrix(self, full):
            return super()._matrix(full.detach() + 0 * full)

    with pytest.raises(AssertionError, match="gradients are not those of finite differences"):
        check_transform(Wrong())
    assert all(check_transform("affine").values())
