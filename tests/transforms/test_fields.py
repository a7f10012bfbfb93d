"""Fields, linear bases, composed and bounded transforms, rotations, regularisers."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.transform import Rotation
from torch import nn

import spatial_transformer as stn
from spatial_transformer.coordinates import base_grid, grid_from_flow
from spatial_transformer.errors import OptionError, ShapeError, TransformError
from spatial_transformer.transforms import (
    Affine,
    Attention,
    Bounded,
    Compose,
    Diffeomorphic,
    Displacement,
    LinearBasis,
    LogPolar,
    PixelAffine,
    Projective,
    Rigid,
    Similarity,
    ThinPlateSpline,
)  # fmt: skip
from spatial_transformer.transforms.linear_basis import homogeneous_features
from spatial_transformer.transforms.regularisers import (
    bending_energy,
    identity_penalty,
    jacobian_determinant,
    jacobian_penalty,
    out_of_frame,
    outside_fraction,
)  # fmt: skip
from spatial_transformer.transforms.thin_plate_spline import features


class TestDisplacement:
    def test_in_pixels_it_is_scipys_warp(self):
        image = torch.rand(1, 1, 9, 12, dtype=torch.float64)
        flow = torch.randn(1, 9, 12, 2, dtype=torch.float64)
        t = Displacement((9, 12), units="pixels")
        found = stn.warp(image, flow.reshape(1, -1), t)
        v, u = np.meshgrid(np.arange(9.0), np.arange(12.0), indexing="ij")
        at = [v + flow[0, ..., 1].numpy(), u + flow[0, ..., 0].numpy()]
        wanted = ndimage.map_coordinates(image[0, 0].numpy(), at, order=1, mode="grid-constant")
        np.testing.assert_allclose(found[0, 0].numpy(), wanted, rtol=0, atol=1e-12)
        direct = stn.sample(image, grid_from_flow(flow))
        torch.testing.assert_close(direct, found, rtol=0, atol=1e-12)

    def test_normalised_units_and_another_output_size(self):
        t = Displacement((5, 5))
        theta = torch.full((1, 50), 0.25)
        shifted = t.grid(theta, (7, 3))
        regular = base_grid((7, 3))[None]
        torch.testing.assert_close(shifted, regular + 0.25)

    def test_nan_is_outside_where_it_is_and_nowhere_else(self):
        image = torch.rand(1, 1, 4, 4)
        theta = torch.zeros(1, 32)
        theta[0, 2 * 5] = math.nan
        theta.requires_grad_()
        warped = stn.warp(image, theta, Displacement((4, 4)))
        wanted = image.clone()
        wanted[0, 0, 1, 1] = 0
        assert torch.equal(warped, wanted)
        warped.sum().backward()
        assert torch.isfinite(theta.grad).all()
        assert theta.grad[0, 10] == 0
        t = Displacement((4, 4))
        points = base_grid((5, 6)).flatten(0, -2)[None]
        found, grid = t.points(theta, points), t.grid(theta, (5, 6)).flatten(1, 2)
        torch.testing.assert_close(found, grid, rtol=0, atol=0, equal_nan=True)
        assert found.isfinite().any()
        assert found.isnan().any()


class TestDiffeomorphic:
    def theta(self, t, size=0.3):
        source = torch.Generator().manual_seed(0)
        return size * torch.randn(2, t.num_params, generator=source, dtype=torch.float64)

    @pytest.mark.parametrize("dims", [2, 3])
    def test_inverse_and_positive_jacobian(self, dims):
        t = Diffeomorphic(dims=dims, resolution=128 if dims == 2 else 32, steps=9)
        theta = self.theta(t)
        # what leaves the frame on the way does not come back
        points = base_grid((9,) * dims, dtype=torch.float64).flatten(0, -2)[None] * 0.5
        points = points.expand(2, -1, -1)
        moved = t.points(theta, points)
        assert (moved - points).abs().max() > 0.1  # it does something
        back = t.points(t.inverse(theta), moved)
        cell = 2 / t.resolution[0]
        assert (back - points).abs().max() < cell / 20
        grid = t.grid(theta, (32,) * dims)
        assert (jacobian_determinant(grid) > 0).all()

    def test_is_the_flow_of_its_velocity(self):
        """Against a fine Euler integration of dp/dt = v(p), v by the B-spline family itself."""
        t = Diffeomorphic(resolution=192, steps=9)
        field = stn.make_transform("bspline")
        theta = self.theta(t)
        start = base_grid((6, 6), dtype=torch.float64).flatten(0, -2)[None].expand(2, -1, -1) * 0.6
        points = start
        for _ in range(2000):
            points = points + (field.points(theta, points) - points) / 2000
        assert (t.points(theta, start) - points).abs().max() < 1e-3


class TestPixelAffine:
    def test_one_matrix_everywhere_is_affine(self):
        theta = torch.tensor([[0.8, 0.1, 0.2, -0.1, 0.9, 0.0]]).double()
        field = PixelAffine((3, 4)).grid(theta.repeat(1, 12), (5, 6))
        torch.testing.assert_close(field, Affine().grid(theta, (5, 6)), rtol=0, atol=1e-12)


class TestLogPolar:
    def test_rotation_rolls_the_rows(self):
        source = torch.Generator().manual_seed(0)
        image = ndimage.gaussian_filter(torch.rand(65, 65, generator=source).double().numpy(), 4)
        image = torch.from_numpy(image)[None, None]
        turned = stn.warp(image, torch.tensor([[math.pi / 2, 1.0, 0, 0]]).double(), "similarity")
        a = stn.warp(image, torch.zeros(1, 2).double(), LogPolar(outer=0.9), (32, 16))
        b = stn.warp(turned, torch.zeros(1, 2).double(), LogPolar(outer=0.9), (32, 16))
        torch.testing.assert_close(b, a.roll(-8, 2), rtol=0, atol=1e-6)

    def test_radii_and_bad_options(self):
        points = LogPolar(inner=0.1, outer=1.0).points(
            torch.zeros(1, 2), torch.tensor([[[-1.0, 0.0], [0.0, 0.0], [1.0, 0.0], [1.0, 0.5]]])
        )
        wanted = torch.tensor([[[0.1, 0.0], [0.1**0.5, 0.0], [1.0, 0.0], [0.0, 1.0]]])
        torch.testing.assert_close(points, wanted)
        linear = LogPolar(radial="linear", inner=0.2, outer=1.0)
        middle = linear.points(torch.zeros(1, 2), torch.tensor([[[0.0, 0.0]]]))
        torch.testing.assert_close(middle, torch.tensor([[[0.6, 0.0]]]))
        with pytest.raises(OptionError, match="0 < inner < outer"):
            LogPolar(inner=2.0)


class TestLinearBasis:
    """Affine, attention, projective and the spline are all M_theta B."""

    size = (5, 7)

    def agree(self, t, theta, other, same):
        torch.testing.assert_close(
            t.grid(theta, self.size), other.grid(same, self.size), rtol=0, atol=1e-9
        )

    def test_affine_and_attention(self):
        theta = torch.randn(2, 6, dtype=torch.float64)
        self.agree(LinearBasis(), theta, Affine(), theta)
        parameters = torch.zeros(3, 2, 3)
        parameters[0, 0, 0] = parameters[0, 1, 1] = 1
        parameters[1, 0, 2] = parameters[2, 1, 2] = 1
        t = LinearBasis(parameters=parameters)
        assert t.identity().tolist() == [1, 0, 0]
        theta = torch.randn(2, 3, dtype=torch.float64)
        self.agree(t, theta, Attention(), theta)

    def test_projective(self):
        constant = torch.zeros(3, 3)
        constant[2, 2] = 1
        t = LinearBasis(
            parameters=torch.eye(9)[:8].unflatten(-1, (3, 3)), constant=constant, projective=True
        )
        theta = Projective().identity().double() + 0.1 * torch.randn(2, 8, dtype=torch.float64)
        self.agree(t, theta, Projective(), theta)
        torch.testing.assert_close(t.identity(), Projective().identity())

    def test_thin_plate_spline(self):
        spline = ThinPlateSpline((3, 3))
        # theta -> M: the spline's solution, the same for x and y
        parameters = torch.zeros(18, 2, 12, dtype=torch.float64)
        for k in range(9):
            for axis in range(2):
                parameters[2 * k + axis, axis] = spline.constants[1][:, k]
        t = LinearBasis(
            lambda p: features(p, spline.control_points.to(p)).transpose(-1, -2),
            parameters=parameters,
        )
        theta = spline.identity().double() + 0.1 * torch.randn(2, 18, dtype=torch.float64)
        self.agree(t, theta, spline, theta)
        torch.testing.assert_close(t.identity(), spline.identity(), rtol=0, atol=1e-4)

    def test_a_basis_can_be_learnt(self):
        class Features(nn.Module):
            def __init__(self):
                super().__init__()
                self.bend = nn.Parameter(torch.tensor(0.5))

            def forward(self, points):
                x, y = points.unbind(-1)
                return torch.stack([x, y, torch.ones_like(x), self.bend * x * y], dim=-1)

        t = LinearBasis(Features())
        layer = stn.SpatialTransformer("fully_connected", t)
        image = torch.rand(2, 1, 8, 8)
        torch.testing.assert_close(layer(image), image)
        nn.init.normal_(layer.localisation.head.weight, std=0.1)
        layer(image).square().sum().backward()
        assert t.features.bend.grad.abs() > 0

    @pytest.mark.parametrize("width", [1, 3, 5])
    def test_the_identity_is_exact_where_features_are_learnt(self, width):
        class Features(nn.Module):
            def __init__(self):
                super().__init__()
                self.body = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, width))

            def forward(self, points):
                return torch.cat([homogeneous_features(points), self.body(points)], dim=-1)

        t = LinearBasis(Features())
        assert torch.equal(t.identity().unique(), torch.tensor([0.0, 1.0]))
        image = torch.rand(1, 1, 15, 15)
        assert torch.equal(stn.warp(image, t.identity()[None], t), image)

    def test_bad_bases_are_named(self):
        with pytest.raises(OptionError, match="no theta of this basis is the identity"):
            LinearBasis(lambda p: p[..., :1])
        with pytest.raises(ShapeError, match=r"parameters must be \(P, 2, 3\)"):
            LinearBasis(parameters=torch.zeros(4, 3, 3))


class TestCompose:
    def test_is_one_after_the_other(self):
        parts = [Affine(), ThinPlateSpline((3, 3)), Similarity()]
        t = Compose(parts)
        theta = t.identity().double() + 0.05 * torch.randn(2, t.num_params, dtype=torch.float64)
        points = base_grid((6, 5), dtype=torch.float64).flatten(0, -2)[None].expand(2, -1, -1)
        wanted = points
        for part, own in reversed(list(zip(parts, t.split(theta), strict=True))):
            wanted = part.points(own, wanted)
        found = t.grid(theta, (6, 5)).flatten(1, 2)
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)

    def test_of_two_affines_is_compose(self):
        a, b = torch.randn(2, 6), torch.randn(2, 6)
        t = Compose([Affine(), Affine()])
        together = t.grid(torch.cat([a, b], 1), (4, 4))
        torch.testing.assert_close(together, Affine().grid(Affine().compose(a, b), (4, 4)))

    def test_bad_parts(self):
        with pytest.raises(OptionError, match="of the same dims"):
            Compose([Affine(), Affine(3)])
        with pytest.raises(OptionError, match="compose takes transforms"):
            Compose(["affine", "thin_plate_spline"])

    @pytest.mark.parametrize(
        "outer",
        [
            "attention",
            "affine",
            "projective",
            "thin_plate_spline",
            "piecewise_affine",
            "linear_basis",
        ],
    )
    def test_what_one_sends_outside_gives_the_others_no_gradient(self, outer):
        t = Compose([stn.make_transform(outer), Projective()])
        theta = t.identity()[None].clone()
        theta[0, -2] = 2.0  # half of the output lies behind the horizon
        theta.requires_grad_()
        warped = stn.warp(torch.rand(1, 1, 8, 8), theta, t)
        assert (warped[..., 0] == 0).all()
        warped.sum().backward()
        assert torch.isfinite(theta.grad).all()
        assert theta.grad.abs().sum() > 0


class TestBounded:
    t = Bounded(Similarity(), {"s": (0.5, 2.0), "angle": (-0.3, 0.3)})

    def test_within_whatever_theta_says(self):
        theta = 100 * torch.randn(50, 4)
        values = self.t.values(theta)
        assert ((values[:, 0].abs() <= 0.3) & (values[:, 1] >= 0.5) & (values[:, 1] <= 2)).all()
        assert torch.equal(self.t.identity(), torch.zeros(4))

    def test_every_matrix_family(self):
        for name in ("translation", "attention", "rigid", "similarity", "affine", "projective"):
            family = stn.make_transform(name)
            start = dict(zip(family.param_names, family.identity().tolist(), strict=True))
            bounds = {n: (v - 0.5, v + 0.25) for n, v in start.items()}
            t = Bounded(family, bounds)
            image = torch.rand(1, 1, 5, 5)
            torch.testing.assert_close(stn.warp(image, torch.zeros(1, t.num_params), t), image)

    @given(low=st.floats(1e-3, 0.999), high=st.floats(1.001, 1e3), theta=st.floats(-4, 4))
    @settings(max_examples=100, deadline=None)
    def test_is_the_formula(self, low, high, theta):
        t = Bounded(Similarity(), {"s": (low, high)})
        assert torch.equal(
            t.matrix(torch.zeros(1, 4)), Similarity().matrix(t.family.identity()[None])
        )
        centre, half = (low + high) / 2, (high - low) / 2
        wanted = centre + half * math.tanh(theta + math.atanh((1 - centre) / half))
        entry = torch.tensor([[0.0, theta, 0.0, 0.0]], dtype=torch.float64)
        assert t.values(entry)[0, 1].item() == pytest.approx(wanted, rel=1e-9)
        back = t.from_matrix(t.matrix(entry))
        assert back[0, 1].item() == pytest.approx(theta, abs=1e-5)

    def test_bad_bounds(self):
        with pytest.raises(OptionError, match="too lopsided"):
            Bounded(Similarity(), {"s": (0.5, 1e30)})
        with pytest.raises(OptionError, match="no parameter 'scale'"):
            Bounded(Similarity(), {"scale": (0, 1)})
        with pytest.raises(OptionError, match=r"around its identity value 1, got \(2, 3\)"):
            Bounded(Similarity(), {"s": (2, 3)})
        with pytest.raises(OptionError, match="must be finite"):
            Bounded(Similarity(), {"s": (0.1, math.inf)})
        with pytest.raises(OptionError, match=r"must be \(low, high\), got 0.5"):
            Bounded(Similarity(), {"s": 0.5})
        with pytest.raises(TransformError, match="the result has .* outside"):
            self.t.compose(*(torch.full((1, 4), 1.0),) * 2)

    def test_what_is_on_the_bounds_is_within_them(self):
        full = torch.tensor([[-50.0, 50.0, 0.1, 0.0]], requires_grad=True)
        same = self.t.compose(full, torch.zeros(1, 4))
        torch.testing.assert_close(self.t.matrix(same), self.t.matrix(full), rtol=1e-5, atol=1e-6)
        same.sum().backward()
        assert torch.isfinite(full.grad).all()
        narrow = Bounded(Similarity(), {"s": (0.999, 1.001)})
        same = narrow.compose(full.detach(), torch.zeros(1, 4))
        torch.testing.assert_close(narrow.matrix(same), narrow.matrix(full.detach()))
        back = self.t.inverse(self.t.inverse(torch.tensor([[0.0, 50.0, 0.0, 0.0]])))
        assert self.t.values(back)[0, 1].item() == pytest.approx(2)

    def test_refine_stays_within_the_bounds(self):
        theta = torch.tensor([[0.1, 1.0, 0.2, 0.0]], requires_grad=True)
        found = self.t.values(self.t.refine(theta, theta))
        wanted = torch.stack([2 * self.t.values(theta)[0, 0], torch.tensor(2.0)])
        torch.testing.assert_close(found[0, :2], wanted, rtol=1e-5, atol=1e-6)
        found.sum().backward()
        assert torch.isfinite(theta.grad).all()
        small = torch.tensor([[0.05, 0.1, 0.2, 0.0]])
        assert torch.equal(self.t.refine(small, small), self.t.compose(small, small))


@pytest.mark.parametrize("size", [0.0, 1e-9, 1e-3, 0.03, 0.5, 3.0, math.pi - 1e-4])
def test_rotations_equal_scipys(size):
    direction = np.random.default_rng(0).normal(size=(20, 3))
    vector = size * direction / np.linalg.norm(direction, axis=1, keepdims=True)
    theta = torch.cat([torch.from_numpy(vector), torch.zeros(20, 3).double()], 1)
    t = Rigid(dims=3)
    matrix = t.matrix(theta)[..., :3]
    wanted = Rotation.from_rotvec(vector).as_matrix()
    np.testing.assert_allclose(matrix.numpy(), wanted, rtol=0, atol=1e-14)
    back = t.from_matrix(t.matrix(theta))
    np.testing.assert_allclose(back[:, :3].numpy(), vector, rtol=0, atol=1e-7)


@pytest.mark.parametrize("size", [1e9, 1e18, 4e18, 1e30, 3e38, 1e-30])
@pytest.mark.parametrize("family", [Rigid, Similarity])
def test_rotation_vectors_of_any_length_have_a_gradient(size, family):
    t = family(dims=3)
    theta = t.identity()[None].clone()
    theta[0, 0] = size
    theta.requires_grad_()
    theta.data[0, 1] = size / 3
    for padding in ("border", "wrap"):
        warped = stn.warp(torch.rand(1, 1, 8, 8, 8), theta, t, padding=padding)
        (warped * torch.randn_like(warped)).sum().backward()
        assert torch.isfinite(warped).all()
        assert torch.isfinite(theta.grad).all()


class TestRegularisers:
    identity = Affine().grid(Affine().identity().double()[None], (8, 9))

    def test_nothing_to_say_of_the_identity(self):
        assert out_of_frame(self.identity).item() == 0
        assert bending_energy(self.identity).item() == pytest.approx(0, abs=1e-20)
        assert jacobian_penalty(self.identity).item() == 0
        assert outside_fraction(self.identity).item() == 0
        torch.testing.assert_close(
            jacobian_determinant(self.identity), torch.ones(1, 6, 7).double()
        )
        assert identity_penalty(Affine().identity()[None], Affine()).item() == 0

    @pytest.mark.parametrize("dims", [2, 3])
    def test_of_several_grids_it_is_their_mean(self, dims):
        t = stn.ThinPlateSpline(dims=dims)
        theta = t.identity() + 0.3 * torch.randn(2, 3, t.num_params).double()
        grid = t.grid(theta, (6, 5, 4)[:dims])
        for penalty in (bending_energy, partial(jacobian_penalty, floor=1.0)):
            each = torch.stack([penalty(grid[:, n]) for n in range(3)], dim=1)
            torch.testing.assert_close(penalty(grid), each.mean(1))
        found = jacobian_determinant(grid)
        assert found.shape == (2, 3, *(n - 2 for n in grid.shape[2:-1]))
        torch.testing.assert_close(found[:, 1], jacobian_determinant(grid[:, 1]))

    def test_points_that_are_not_finite_count_nothing(self):
        grid = Affine().grid(Affine().identity()[None].double().repeat(2, 1), (6, 7)).clone()
        grid[0, 2, 3] = torch.tensor([math.nan, math.inf])
        grid[1] = math.nan
        grid.requires_grad_()
        assert bending_energy(grid).abs().max().item() < 1e-20
        assert torch.equal(jacobian_penalty(grid, 0.5), torch.zeros(2).double())
        (bending_energy(grid) + jacobian_penalty(grid, 2.0)).sum().backward()
        assert torch.isfinite(grid.grad).all()
        assert not grid.grad[1].any()
        assert jacobian_determinant(grid)[0].isnan().sum() == 4
        deep = Affine(dims=3).grid(Affine(dims=3).identity()[None].double(), (4, 5, 6)).clone()
        deep[0, 1, 2, 3] = math.nan
        deep.requires_grad_()
        (first,) = torch.autograd.grad(jacobian_penalty(deep, 2.0).sum(), deep, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), deep)
        assert torch.isfinite(first).all()
        assert torch.isfinite(second).all()

    @pytest.mark.parametrize(
        "shape", [(1, 1, 1, 2), (1, 2, 9, 2), (4, 4, 2), (1, 1, 1, 4, 4, 2), (2, 5, 5, 1)]
    )
    def test_grids_it_cannot_judge_are_named(self, shape):
        for penalty in (bending_energy, jacobian_penalty, jacobian_determinant):
            with pytest.raises(ShapeError, match="grid must be .* at least 3 pixels"):
                penalty(torch.zeros(shape))

    def test_closed_forms(self):
        theta = torch.tensor([[2.0, 0, 0, 0, 0.5, 0]]).double()
        grid = Affine().grid(theta, (8, 8))
        torch.testing.assert_close(jacobian_determinant(grid), torch.ones(1, 6, 6).double())
        beyond = (grid[0, ..., 0].abs() - 1).clamp(min=0) ** 2
        torch.testing.assert_close(out_of_frame(grid)[0], beyond.mean())
        assert outside_fraction(grid).item() == 0.5
        flipped = Affine().grid(torch.tensor([[-1.0, 0, 0, 0, 1, 0]]), (8, 8))
        assert jacobian_penalty(flipped).item() == pytest.approx(1, abs=1e-5)
        # x + x^2 / 2: second derivative 1 in x alone
        bent = self.identity.clone()
        bent[..., 0] = bent[..., 0] + bent[..., 0] ** 2 / 2
        assert bending_energy(bent).item() == pytest.approx(1, rel=1e-9)
        assert identity_penalty(theta, Affine()).item() == pytest.approx(1.25 / 6)
