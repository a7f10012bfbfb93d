"""Thin plate spline, piecewise affine and B-spline against SciPy and scikit-image."""

import math

import numpy as np
import pytest
import torch
from scipy.interpolate import BSpline as ScipyBSpline
from scipy.interpolate import RBFInterpolator
from skimage.transform import PiecewiseAffineTransform
from torch._subclasses.fake_tensor import FakeTensorMode

import spatial_transformer as stn
from spatial_transformer.cache import BASES
from spatial_transformer.coordinates import base_grid
from spatial_transformer.errors import OptionError
from spatial_transformer.transforms import BSplineDeformation, PiecewiseAffine, ThinPlateSpline


def moved(t, spread=0.1, seed=0):
    source = torch.Generator().manual_seed(seed)
    noise = torch.randn(1, t.num_params, generator=source, dtype=torch.float64)
    return t.identity().double() + spread * noise


@pytest.mark.parametrize("regularisation", [0.0, 0.1])
@pytest.mark.parametrize("shape", [(4, 4), (2, 3), (5, 5)])
def test_tps_equals_scipys_at_nodes_and_off_them(shape, regularisation):
    t = ThinPlateSpline(shape, regularisation=regularisation)
    theta = moved(t)
    nodes = t.control_points.numpy()
    scipy = RBFInterpolator(
        nodes, theta.reshape(-1, 2).numpy(), kernel="thin_plate_spline", smoothing=regularisation
    )
    points = np.concatenate([nodes, np.random.default_rng(0).uniform(-1.5, 1.5, (200, 2))])
    found = t.points(theta, torch.from_numpy(points)[None])[0].numpy()
    np.testing.assert_allclose(found, scipy(points), rtol=0, atol=1e-10)
    grid = t.grid(theta, (9, 7))[0].numpy()
    regular = base_grid((9, 7), dtype=torch.float64).numpy()
    np.testing.assert_allclose(
        grid.reshape(-1, 2), scipy(regular.reshape(-1, 2)), rtol=0, atol=1e-10
    )


def test_tps_in_3d_equals_scipys_linear_kernel():
    t = ThinPlateSpline((2, 3, 2), dims=3)
    theta = moved(t)
    scipy = RBFInterpolator(
        t.control_points.numpy(), theta.reshape(-1, 3).numpy(), kernel="linear", degree=1
    )
    points = np.random.default_rng(0).uniform(-1, 1, (50, 3))
    found = t.points(theta, torch.from_numpy(points)[None])[0].numpy()
    np.testing.assert_allclose(found, scipy(points), rtol=0, atol=1e-10)


def test_tps_of_the_paper_and_of_ones_own_points():
    assert ThinPlateSpline().num_params == 32
    points = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [-1.0, -0.5]])
    t = ThinPlateSpline(points=points)
    theta = moved(t)
    met = t.points(theta, points.double()[None])
    torch.testing.assert_close(met[0], theta.reshape(-1, 2), rtol=0, atol=1e-12)
    first = ThinPlateSpline((2, 3)).control_points
    wanted = [[-1, -1], [0, -1], [1, -1], [-1, 1], [0, 1], [1, 1]]
    assert first.tolist() == wanted  # (x, y), row by row from the top left


def test_offsets_are_positions_less_the_lattice_and_zero_is_the_identity():
    positions, offsets = ThinPlateSpline(), ThinPlateSpline(control="offsets")
    theta = moved(positions)
    less = theta - positions.identity().double()
    torch.testing.assert_close(positions.grid(theta, (8, 8)), offsets.grid(less, (8, 8)))
    image = torch.rand(1, 1, 9, 9)
    assert torch.equal(stn.warp(image, torch.zeros(1, 32), offsets), image)
    assert torch.equal(stn.warp(image, positions.identity()[None], positions), image)


def test_bound_keeps_every_move_within():
    t = ThinPlateSpline(control="offsets", bound=0.2)
    far = t.points(torch.full((1, 32), 50.0).double(), t.control_points[None])
    assert (far - t.control_points).abs().max() <= 0.2 + 1e-9
    tiny = 1e-4 * torch.ones(1, 32).double()
    torch.testing.assert_close(
        t.grid(tiny, (4, 4)),
        ThinPlateSpline(control="offsets").grid(tiny, (4, 4)),
        rtol=0,
        atol=1e-9,
    )


def test_bad_control_points_are_named():
    with pytest.raises(OptionError, match="the 4 control points are on one line"):
        ThinPlateSpline(points=torch.tensor([[0.0, 0], [1, 1], [2, 2], [3, 3]]))
    with pytest.raises(OptionError, match="doubled"):
        ThinPlateSpline(points=torch.tensor([[0.0, 0], [0, 0], [1, 0], [0, 1]]))
    with pytest.raises(OptionError, match="at least 2 points on every axis"):
        ThinPlateSpline((1, 4))
    with pytest.raises(OptionError, match="shape= or points=, not both"):
        ThinPlateSpline((4, 4), points=torch.rand(4, 2))
    with pytest.raises(OptionError, match="control must be one of"):
        ThinPlateSpline(control="moves")
    for wrong in ("q", math.nan):
        with pytest.raises(OptionError, match="regularisation must not be negative"):
            stn.ThinPlateSpline(regularisation=wrong)
    for wrong in ("a", 0, -1.0, math.nan):
        with pytest.raises(OptionError, match="bound must be positive and finite"):
            stn.ThinPlateSpline(bound=wrong)
    with pytest.raises(OptionError, match="control points must be finite"):
        stn.ThinPlateSpline(points=torch.full((5, 2), math.nan))
    for wrong in ("ab", (3, 3, 3), (2.5, 3), 0):
        with pytest.raises(OptionError, match="shape must be 2 positive whole numbers"):
            stn.PiecewiseAffine(wrong)
    assert stn.BSplineDeformation(4).num_params == stn.BSplineDeformation((4, 4)).num_params
    with pytest.raises(OptionError, match="regularisation must not be negative"):
        ThinPlateSpline(regularisation=-1)
    for wrong in ("x", [[0.0, 1.0], [2.0]], None, 3.0, torch.rand(4, 3)):
        if wrong is not None:
            with pytest.raises(OptionError, match=r"control points must be \(K, 2\)"):
                ThinPlateSpline(points=wrong)
        with pytest.raises(OptionError, match="control points must be|takes shape=, or points="):
            PiecewiseAffine(points=wrong, triangles=[[0, 1, 2]])


class TestPiecewiseAffine:
    def test_equals_scikit_images_inside_the_mesh(self):
        rng = np.random.default_rng(0)
        ring = np.array([[-1, -1], [1, -1], [-1, 1], [1, 1]])
        source = np.concatenate([ring, rng.uniform(-0.9, 0.9, (12, 2))])
        target = source + rng.normal(0, 0.05, source.shape)
        theirs = PiecewiseAffineTransform.from_estimate(source, target)
        t = PiecewiseAffine(
            points=torch.from_numpy(source),
            triangles=torch.from_numpy(theirs._tesselation.simplices.astype(np.int64)),
        )
        points = rng.uniform(-1, 1, (500, 2))
        found = t.points(torch.from_numpy(target).reshape(1, -1), torch.from_numpy(points)[None])
        np.testing.assert_allclose(found[0].numpy(), theirs(points), rtol=0, atol=1e-10)
        outside = t.points(
            torch.from_numpy(target).reshape(1, -1), torch.tensor([[[5.0, 0.0]]]).double()
        )
        assert not torch.isfinite(outside).any()

    def test_corners_go_where_theta_says(self):
        t = PiecewiseAffine((3, 4))
        theta = moved(t, 0.05)
        met = t.points(theta, t.control_points[None])
        torch.testing.assert_close(met[0], theta.reshape(-1, 2), rtol=0, atol=1e-12)

    def test_reproduces_affine_maps(self):
        t = PiecewiseAffine()
        matrix = torch.tensor([[0.8, 0.1, 0.2], [-0.1, 0.9, 0.0]]).double()
        nodes = t.control_points
        theta = (nodes @ matrix[:, :2].T + matrix[:, 2]).reshape(1, -1)
        affine = stn.Affine().grid(matrix.reshape(1, -1), (7, 9))
        torch.testing.assert_close(t.grid(theta, (7, 9)), affine, rtol=0, atol=1e-12)

    def test_bad_meshes_are_named(self):
        points = torch.tensor([[0.0, 0], [1, 0], [2, 0], [0, 1]])
        with pytest.raises(OptionError, match="has no area"):
            PiecewiseAffine(points=points, triangles=torch.tensor([[0, 1, 2]]))
        with pytest.raises(OptionError, match="indices of the 4 control points"):
            PiecewiseAffine(points=points, triangles=torch.tensor([[0, 1, 4]]))
        for wrong in ([], [[0, 1]], [[0, 1, 1.5]], [[0, 1, -1]]):
            with pytest.raises(OptionError, match="indices of the 4 control points"):
                PiecewiseAffine(points=points, triangles=wrong)
        with pytest.raises(OptionError, match=r"triangles must be \(T, 3\) indices, got 'abc'"):
            PiecewiseAffine(points=points, triangles="abc")
        with pytest.raises(OptionError, match="takes shape=, or points="):
            PiecewiseAffine(points=points)


class TestBSpline:
    def test_equals_scipys_tensor_product(self):
        t = BSplineDeformation((5, 7))
        theta = moved(t)
        coefficients = theta.reshape(5, 7, 2).numpy()

        def basis(x, count):
            h = 2 / (count - 3)
            knots = -1 + (np.arange(count + 4) - 3) * h
            return np.stack(
                [ScipyBSpline.basis_element(knots[i : i + 5], False)(x) for i in range(count)], -1
            )

        points = np.random.default_rng(0).uniform(-0.999, 0.999, (80, 2))
        wx = np.nan_to_num(basis(points[:, 0], 7))
        wy = np.nan_to_num(basis(points[:, 1], 5))
        wanted = points + np.einsum("mi,mj,ijk->mk", wy, wx, coefficients)
        found = t.points(theta, torch.from_numpy(points)[None])[0].numpy()
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-12)

    def test_positions_reproduce_affine_maps(self):
        t = BSplineDeformation((4, 6), control="positions")
        matrix = torch.tensor([[0.8, 0.1, 0.2], [-0.1, 0.9, 0.0]]).double()
        theta = (t.control_points @ matrix[:, :2].T + matrix[:, 2]).reshape(1, -1)
        affine = stn.Affine().grid(matrix.reshape(1, -1), (7, 9))
        torch.testing.assert_close(t.grid(theta, (7, 9)), affine, rtol=0, atol=1e-12)

    def test_bad_lattices_are_named(self):
        with pytest.raises(OptionError, match="2 numbers of at least 4"):
            BSplineDeformation((3, 4))


def test_half_a_module_keeps_the_lattice():
    t = ThinPlateSpline().half()
    wanted = ThinPlateSpline().grid(ThinPlateSpline().identity()[None], (5, 5))
    assert torch.equal(t.grid(t.identity()[None], (5, 5)), wanted)
    assert math.isclose(t.identity()[2].item(), -1 / 3, rel_tol=1e-6)


@pytest.mark.parametrize("name", ["thin_plate_spline", "piecewise_affine", "bspline"])
def test_a_basis_made_in_inference_mode_trains(name):
    t = stn.make_transform(name)
    image, theta = torch.rand(2, 1, 8, 8), t.identity().repeat(2, 1)
    with torch.inference_mode():
        stn.warp(image, theta, t)
    stn.warp(image, theta.requires_grad_(), t).square().sum().backward()
    assert theta.grad.abs().sum() > 0


@pytest.mark.parametrize("name", stn.list_transforms())
def test_constants_are_numbers_in_a_network_laid_out_on_meta(name):
    with torch.device("meta"):
        t = stn.make_transform(name)
        start = t.identity()
    assert start.device.type == "cpu"
    assert start.dtype == torch.float32
    theta = start[None]
    size = (5, 4, 6)[-t.dims :]
    assert torch.equal(t.grid(theta, size), stn.make_transform(name).grid(theta, size))


@pytest.mark.parametrize("name", stn.list_transforms())
def test_the_identity_is_float32_whatever_the_default(name):
    t = stn.make_transform(name)
    wanted = t.identity()
    torch.set_default_dtype(torch.float64)
    try:
        assert t.identity().dtype == torch.float32
        assert torch.equal(stn.make_transform(name).identity(), wanted)
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(
    "context",
    [
        torch.inference_mode,
        lambda: torch.device("meta"),
        lambda: FakeTensorMode(allow_non_fake_inputs=True),
    ],
)
def test_named_transforms_first_asked_for_anywhere_serve_everywhere(context):
    counts = {"thin_plate_spline": 32, "piecewise_affine": 32, "linear_basis": 6}
    BASES.clear()
    with context():
        for name, count in counts.items():
            stn.warp(torch.rand(2, 1, 8, 8), torch.zeros(2, count), name)
    image = torch.rand(2, 1, 8, 8)
    for name in counts:
        theta = stn.make_transform(name).identity().repeat(2, 1).requires_grad_()
        warped = stn.warp(image, theta, name)
        torch.testing.assert_close(warped, image)
        warped.square().sum().backward()
        assert theta.grad.abs().sum() > 0


@pytest.mark.parametrize(
    "transform", [*stn.list_transforms(), stn.Affine(3)], ids=lambda t: getattr(t, "name", t)
)
def test_a_float64_image_makes_a_float32_theta_exact(transform):
    t = stn.make_transform(transform) if isinstance(transform, str) else transform
    if not t.has_identity or t.name == "linear_basis":  # which is multiplied out
        pytest.skip("not exact in float32 either")
    image = torch.rand(1, 1, *(7, 9, 11)[-t.dims :], dtype=torch.float64)
    for options in ({}, {"backend": "eager"}, {"kernel": "lanczos"} if t.dims == 2 else {}):
        assert torch.equal(stn.warp(image, t.identity()[None], t, **options), image)
