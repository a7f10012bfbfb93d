"""Pictures: what is drawn lies where closed forms say it does, and files do not change."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from matplotlib.collections import LineCollection
from PIL import Image, ImageColor
from torch import nn

import spatial_transformer as stn
from spatial_transformer import viz
from spatial_transformer.errors import DataError, OptionError, ShapeError
from spatial_transformer.viz.style import GRIDS, RIGHT, WRONG

ORANGE = ImageColor.getrgb(GRIDS[0])


def colour_count(figure, colour):
    pixels = np.asarray(viz.render(figure)).reshape(-1, 3)
    return int((pixels == ImageColor.getrgb(colour)).all(1).sum())


def test_grid_lines_lie_where_the_matrix_puts_them():
    # the output's frame is the input's left upper quarter, in pixels: from -0.5 to 7.5
    theta = torch.tensor([0.5, 0.0, -0.5, 0.0, 0.5, -0.5])
    lines = viz.grid_lines(stn.Affine(), theta, (16, 16), lines=3, points=5)
    assert lines.shape == (6, 5, 2)
    torch.testing.assert_close(lines[0], torch.tensor([[-0.5 + 2 * k, -0.5] for k in range(5)]))
    torch.testing.assert_close(lines[4], torch.tensor([[3.5, -0.5 + 2 * k] for k in range(5)]))


def test_a_box_has_its_corners():
    angle = 0.5
    cos, sin = math.cos(angle), math.sin(angle)
    turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    shift = np.array([0.1, -0.2, 0.3])
    theta = torch.tensor(np.concatenate([0.5 * turn, shift[:, None]], 1).ravel()).float()
    edges = viz.box_edges(stn.Affine(dims=3), theta, (10, 20, 40))
    assert edges.shape == (12, 17, 3)
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    wanted = (corners @ (0.5 * turn).T + shift + 1) * np.array([40, 20, 10]) / 2 - 0.5
    ends = edges[:, [0, -1]].reshape(-1, 3).numpy()
    for corner in wanted:
        assert (np.abs(ends - corner).max(1) < 1e-4).sum() == 3  # three edges meet
    front = edges[:4, :, 2]
    assert front.max() < edges[4:, :, 2].max()
    torch.testing.assert_close(front, torch.full_like(front, wanted[0, 2]))
    with pytest.raises(ShapeError, match="works in 2-D"):
        viz.box_edges(stn.Affine(), torch.zeros(6), (4, 4, 4))


def test_slices_are_cut_where_the_inverse_says():
    """Every point of a curve, taken back by numpy's inverse, has one of the lines' x or y."""
    torch.manual_seed(3)
    matrix = torch.eye(3) * 0.6 + 0.15 * torch.randn(3, 3)
    theta = torch.cat([matrix, torch.tensor([[0.1], [0.0], [-0.1]])], 1).flatten()
    size, index = (12, 16, 20), 5.0
    curves = viz.slice_lines(stn.Affine(dims=3), theta, size, index, lines=5)
    assert len(curves) == 10
    levels = np.linspace(-1, 1, 5)
    for curve in curves:
        x, y = curve.numpy().T
        ends = np.array([20, 16, 12])
        point = (2 * np.stack([x, y, np.full_like(x, index)], 1) + 1) / ends - 1
        back = (point - [0.1, 0.0, -0.1]) @ np.linalg.inv(matrix.numpy()).T
        assert np.abs(back).max() < 1 + 1e-4
        off = np.abs(back[:, :2, None] - levels).min(-1)  # to the nearest line, of x and of y
        assert min(off[:, 0].max(), off[:, 1].max()) < 1e-4
    outside = torch.tensor([0.2, 0, 0, 0, 0, 0.2, 0, 0, 0, 0, 0.2, 0.7])  # the far end
    assert viz.slice_lines(stn.Affine(dims=3), outside, size, 1.0) == []


class TestSheet:
    def test_two_transforms_have_a_colour_each(self):
        image, theta = torch.rand(2, 2, 8, 8), torch.rand(2, 2, 3) * 0.3 + 0.3
        figure = viz.draw_sheet(image, torch.rand(2, 2, 2, 4, 4), theta, stn.Attention())
        (axes,) = figure.axes
        assert len(axes.images) == 2 * (2 + 4)  # channels, and those of both outputs
        colours = [tuple(c.get_colors()[0]) for c in axes.collections]
        assert len(set(colours)) == 2
        assert colour_count(figure, GRIDS[1]) > 50

    def test_the_grid_is_drawn_on_its_pixels(self):
        theta = torch.tensor([[0.5, 0.0, 0.5, 0.0, 0.5, 0.5]])  # the right lower quarter
        figure = viz.draw_sheet(torch.zeros(1, 1, 10, 10), None, theta, stn.Affine())
        (axes,) = figure.axes
        left, right, bottom, top = axes.images[0].get_extent()
        (drawn,) = [c for c in axes.collections if isinstance(c, LineCollection)]
        points = np.concatenate(list(drawn.get_segments()))
        middle = ((left + right) / 2, (top + bottom) / 2)
        assert points.min(0) == pytest.approx(middle, abs=1e-5)
        assert points.max(0) == pytest.approx((right, bottom), abs=1e-5)

    def test_truths_boxes_and_captions(self):
        images = torch.zeros(3, 1, 10, 10)
        figure = viz.draw_sheet(
            images, predicted=[1, 2, 3], truth=[1, 2, 4], confidence=[0.5, 0.6, 0.99]
        )
        words = {t.get_text(): t.get_color() for t in figure.axes[0].texts}
        assert words["1 (50 %)"] == RIGHT
        assert words["3 (99 %)\n(true: 4)"] == WRONG
        figure = viz.draw_sheet(images, predicted=[1, 2, 7], truth=[1, 2, 3])
        assert {t.get_text(): t.get_color() for t in figure.axes[0].texts}["7 (true: 3)"] == WRONG
        boxes = torch.tensor([[0.0, 0, 5, 10]] * 3)
        figure = viz.draw_sheet(images, boxes=boxes, captions=["a", "b", "c"])
        (axes,) = figure.axes
        left, right, bottom, top = axes.images[0].get_extent()
        box = axes.patches[1]
        assert box.get_xy() == pytest.approx((left, top))
        assert box.get_width() == pytest.approx((right - left) / 2)
        assert box.get_height() == pytest.approx(bottom - top)

    @pytest.mark.parametrize("across", [False, True])
    def test_volumes_and_blocks(self, across):
        t = stn.Affine(dims=3)
        volume = torch.rand(3, 1, 6, 8, 10)
        theta = t.identity().expand(3, -1)
        figure = viz.draw_sheet(volume, volume, theta, t, columns=2, across=across, title="x")
        images = figure.axes[0].images
        assert len(images) == 3 * 5
        assert images[1].get_array().shape == (8, 6)  # from the side: y down, z across
        shown = np.asarray(images[0].get_array())
        wanted = volume[0, 0].mean(0).numpy()
        assert shown == pytest.approx(wanted / wanted.max(), abs=1e-6)

    def test_numbers_that_differ_are_named(self):
        with pytest.raises(ShapeError, match="2 images, 3 outputs, 1 truths"):
            viz.draw_sheet(torch.zeros(2, 1, 4, 4), torch.zeros(3, 1, 4, 4), truth=[1])
        with pytest.raises(ShapeError, match="an image must be"):
            viz.draw_sheet(torch.zeros(2, 4, 4))


class TestSurvey:
    def model(self):
        """Says the brighter half; of its sureness the images decide."""
        model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))
        model[1].weight.data = torch.tensor([[4.0, 4, 0, 0], [0, 0, 4, 4]])
        return model

    def test_means_and_the_surest_mistakes_by_hand(self):
        torch.manual_seed(1)
        images, labels = torch.rand(60, 1, 2, 2), torch.arange(60) % 2
        found = viz.survey(
            self.model(), zip(images.split(7), labels.split(7), strict=True), mistakes=5
        )
        sums = images.flatten(1).double().numpy()
        gap = 4 * (sums[:, :2].sum(1) - sums[:, 2:].sum(1))
        wrong = (gap < 0).astype(int) != labels.numpy()
        sure = 1 / (1 + np.exp(-np.abs(gap)))
        assert (found.images, found.wrong) == (60, wrong.sum())
        assert [m.confidence for m in found.mistakes] == pytest.approx(
            np.sort(sure[wrong])[::-1][:5], abs=1e-5
        )
        assert all(m.predicted == 1 - m.truth for m in found.mistakes)
        torch.testing.assert_close(found.before[1], images[labels == 1].mean(0))
        assert found.after is None
        assert viz.draw_means(found).axes
        assert viz.draw_mistakes(found).axes

    def test_nothing_to_show(self):
        images = torch.tensor([[1.0, 1, 0, 0]]).view(1, 1, 2, 2)
        found = viz.survey(self.model(), [(images, torch.tensor([0]))])
        with pytest.raises(DataError, match="all of 1 images are right"):
            viz.draw_mistakes(found)
        with pytest.raises(DataError, match="no images"):
            viz.survey(self.model(), [])


class TestTheta:
    def test_bounded_values_are_shown_within_their_bounds(self):
        t = stn.Bounded(stn.Attention(), {"s": (0.2, 1.1)})
        figure = viz.draw_theta(torch.randn(200, 3) * 30, t)
        assert [a.get_xlabel() for a in figure.axes] == ["s", "tx", "ty"]
        bars = figure.axes[0].patches
        assert min(b.get_x() for b in bars) == pytest.approx(0.2)
        assert max(b.get_x() + b.get_width() for b in bars) == pytest.approx(1.1)
        assert sum(b.get_height() for b in bars) == 200

    def test_paths_and_control_points(self):
        t = stn.Affine()
        theta = torch.randn(4, 5, 6)
        figure = viz.draw_theta_paths([0, 1, 4, 9], theta, t)
        assert len(figure.axes) == 6
        mean = figure.axes[2].lines[-1]
        assert mean.get_ydata() == pytest.approx(theta[:, :, 2].mean(1).numpy())
        spline = stn.ThinPlateSpline((3, 3))
        places = spline.identity() + 0.1 * torch.randn(50, 18)
        (axes,) = viz.draw_theta(places, spline).axes
        moved = stn.ThinPlateSpline((3, 3), control="offsets", bound=0.3)
        offsets = 0.1 * torch.randn(50, 18)
        (plane,) = viz.draw_theta(offsets, moved).axes
        drawn = [c.get_offsets() for c in plane.collections if len(c.get_offsets()) == 50]
        wanted = moved.control_points + 0.3 * torch.tanh(offsets / 0.3).view(50, 9, 2)
        assert len(drawn) == 9
        for k in range(9):
            assert torch.as_tensor(drawn[k].data).sub(wanted[:, k]).abs().max() < 1e-6
        drawn = np.concatenate([np.asarray(c.get_offsets()) for c in axes.collections])
        assert np.sort(drawn.ravel()) == pytest.approx(np.sort(places.numpy().ravel()))
        assert viz.draw_theta_paths([0, 1], places.view(2, 25, 18), spline).axes
        with pytest.raises(ShapeError, match="for 3 steps"):
            viz.draw_theta_paths([0, 1, 2], theta, t)


class TestStages:
    def test_two_in_series_are_one_transform_of_the_input(self):
        torch.manual_seed(0)
        layers = [stn.SpatialTransformer("fully_connected", f, 16) for f in ("affine", "rigid")]
        model = nn.Sequential(*layers)
        smooth = nn.functional.interpolate(torch.rand(2, 1, 4, 4), 32, mode="bicubic").clamp(0, 1)
        model(smooth)
        for layer in layers:
            nn.init.normal_(layer.localisation.head.weight, std=0.03)
        first, both = viz.find_stages(model, smooth)
        assert (first.name, both.name) == ("0", "1")
        point = torch.tensor([[[0.3, -0.4]]]).expand(2, 1, 2)
        view, inner = layers[0](smooth, return_theta=True)
        _, outer = layers[1](view, return_theta=True)
        a = stn.Affine().matrix(inner)
        b = stn.Rigid().matrix(outer)
        moved = (b[:, :, :2] @ point[:, 0, :, None]).squeeze(-1) + b[:, :, 2]
        moved = (a[:, :, :2] @ moved[:, :, None]).squeeze(-1) + a[:, :, 2]
        torch.testing.assert_close(both.transform.points(both.theta, point)[:, 0], moved)
        # sampled once or twice, it is the same picture
        assert float((both.warped - model(smooth).detach()).abs().mean()) < 0.05
        assert len(viz.draw_stages(smooth, [first, both]).axes[0].images) == 2 * 4

    def test_a_cascade_has_a_stage_a_network(self):
        layer = stn.Cascade(["fully_connected"], "affine", 8, steps=3)
        image = torch.rand(2, 1, 8, 8)
        layer(image)
        nn.init.normal_(layer.localisation[0].head.weight, std=0.1)
        stages = viz.find_stages(nn.Sequential(layer), image)
        assert [s.name for s in stages] == ["0 1", "0 2", "0 3"]
        warped, theta = layer(image, return_theta=True)
        torch.testing.assert_close(stages[-1].theta, theta)
        torch.testing.assert_close(stages[-1].warped, warped)
        assert not torch.equal(stages[0].theta, stages[1].theta)

    def test_what_has_no_stages(self):
        with pytest.raises(OptionError, match="no spatial transformer"):
            viz.find_stages(nn.Flatten(), torch.rand(1, 1, 4, 4))
        layer = stn.Parallel("fully_connected", "affine", count=2)
        with pytest.raises(OptionError, match="side by side"):
            viz.find_stages(layer, torch.rand(1, 1, 4, 4))


def test_curves_need_a_history():
    with pytest.raises(ShapeError, match="curves need runs with a history"):
        viz.draw_curves({"a": {"step": torch.arange(3.0)}})


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_the_same_picture_is_the_same_file(tmp_path, suffix):
    images = torch.rand(2, 1, 8, 8)
    for name in "ab":
        viz.save_figure(viz.draw_sheet(images, captions=["1", "2"]), tmp_path / f"{name}{suffix}")
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()
    with pytest.raises(OptionError, match="a picture is one of"):
        viz.save_figure(viz.draw_sheet(images), tmp_path / "a.bmp")


@pytest.mark.slow
def test_viz_is_reached_by_name_and_not_before():
    code = (
        "import sys, spatial_transformer as stn; assert 'matplotlib' not in sys.modules; "
        "print(stn.viz.draw_sheet.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "draw_sheet"
    with pytest.raises(AttributeError, match="no attribute 'vis'"):
        stn.vis  # noqa: B018


def test_every_public_function_is_documented():
    for name in vars(viz):
        thing = getattr(viz, name)
        if not name.startswith("_") and callable(thing):
            assert thing.__doc__, name
    assert isinstance(viz.render(viz.draw_sheet(torch.rand(1, 1, 4, 4))), Image.Image)
