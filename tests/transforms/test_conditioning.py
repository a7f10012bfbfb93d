"""Landmarks that no spline can go through are refused, by the precision they were given in."""

import pytest
import torch

from spatial_transformer.errors import OptionError
from spatial_transformer.transforms import PiecewiseAffine, ThinPlateSpline


def on_a_line(dims, dtype, bend=0.0):
    direction, start = torch.randn(dims).double(), torch.randn(dims).double()
    points = start + torch.rand(8, 1).double() * direction
    return (points + bend * torch.randn(8, dims)).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("dims", [2, 3])
def test_points_on_a_line_are_refused(dims, dtype):
    for _ in range(100):
        with pytest.raises(OptionError, match=r"control points are on one line|doubled"):
            ThinPlateSpline(points=on_a_line(dims, dtype), dims=dims)


def test_points_on_a_plane_are_refused():
    for _ in range(100):
        basis, start = torch.randn(2, 3).double(), torch.randn(3).double()
        points = (start + torch.rand(10, 2).double() @ basis).float()
        with pytest.raises(OptionError, match="on one line or plane"):
            ThinPlateSpline(points=points, dims=3)


@pytest.mark.parametrize("bend", [1e-3, 1e-4])
def test_points_that_are_nearly_on_one_work(bend):
    """In float64, and in float32 where the bend is more than its rounding."""
    for dtype in (torch.float64, torch.float32):
        points = on_a_line(2, dtype, bend)
        spline = ThinPlateSpline(points=points, control="offsets")
        moves = 0.01 * torch.randn(1, 16, dtype=torch.float64)
        moved = spline.points(moves, points.double()[None]) - points.double()
        torch.testing.assert_close(moved.flatten(1), moves, rtol=0, atol=1e-4)


def test_nothing_else_escapes():
    """Whatever lies between: a spline that meets its points, or our error."""
    for exponent in range(1, 17):
        points = on_a_line(2, torch.float64, 10.0**-exponent)
        try:
            spline = ThinPlateSpline(points=points, control="offsets")
        except OptionError:
            continue
        moves = 0.01 * torch.randn(1, 16, dtype=torch.float64)
        moved = spline.points(moves, points[None]) - points
        assert (moved.flatten(1) - moves).abs().max() < 2e-3, exponent


def test_points_that_their_precision_cannot_tell_apart_are_doubled():
    points = torch.tensor([[0.0, 0], [1, 0], [0, 1], [1, 1], [1, 1 + 2**-23]])
    with pytest.raises(OptionError, match="control points 3 and 4 are doubled"):
        ThinPlateSpline(points=points)
    with pytest.raises(OptionError, match="needs 3 or more control points, got 2"):
        ThinPlateSpline(points=points[:2])
    with pytest.raises(OptionError, match="no area|flat"):
        PiecewiseAffine(points=on_a_line(2, torch.float32)[:3], triangles=[[0, 1, 2]])
