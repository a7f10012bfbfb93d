"""Digits on a canvas, against OpenCV and the paper's generator; what comes from the browser."""

import base64
import itertools
import math

import cv2
import numpy as np
import pytest
import torch

from spatial_transformer.demo import payload as check
from spatial_transformer.demo.pictures import make_digit
from spatial_transformer.demo.scene import Pose, draw_canvas
from spatial_transformer.errors import OptionError
from spatial_transformer.experiments.data.distortion import similarity_theta

DIGIT = torch.zeros(1, 28, 28)
DIGIT[:, 5:23, 9:12] = 1
DIGIT[:, 20:23, 9:20] = 0.7
OTHERS = torch.ones(3, 1, 28, 28)


@pytest.mark.parametrize("size", [28, 42])
@pytest.mark.parametrize("pose", [Pose(), Pose(35, 0.8, 0.4, 3, -5), Pose(-120, 1.3, -0.7, -2, 4)])
def test_a_pose_is_what_opencv_draws(pose, size):
    found = draw_canvas(DIGIT, pose, size, others=OTHERS)[0, 0].numpy()
    turn = math.radians(pose.angle)
    rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    linear = rotation @ np.array([[1, pose.shear], [0, 1]]) * pose.scale
    # pixel i's centre is at i + 1/2
    shift = size / 2 - 0.5 + np.array([pose.x, pose.y]) - linear @ np.array([13.5, 13.5])
    matrix = np.concatenate([linear, shift[:, None]], axis=1)
    wanted = cv2.warpAffine(DIGIT[0].numpy(), matrix, (size, size), flags=cv2.INTER_LINEAR)
    assert wanted.max() > 0.9
    assert np.abs(found - wanted).mean() < 2e-3  # OpenCV rounds coordinates to 1/32 pixel


def test_without_shear_it_is_the_generators_pose():
    values = [torch.tensor([v]) for v in (math.radians(30), 0.9, 4.0, -2.0)]
    theta = Pose(30, 0.9, 0, 4, -2).theta(42)
    torch.testing.assert_close(theta, similarity_theta(*values, 42), rtol=0, atol=1e-6)


def test_clutter_adds_pieces_and_leaves_those_before():
    digit = DIGIT * 0.5
    counts = [0, 1, 2, 6]
    canvases = [draw_canvas(digit, Pose(), 42, pieces=n, seed=3, others=OTHERS) for n in counts]
    bright = [int((canvas == 1).sum()) for canvas in canvases]
    assert bright[0] == 0
    assert bright[1] == 36
    assert 36 < bright[3] <= 6 * 36
    for less, more in itertools.pairwise(canvases):
        assert (more >= less).all()
    moved = draw_canvas(digit, Pose(x=6), 42, pieces=6, seed=3, others=OTHERS)
    assert torch.equal(moved == 1, canvases[3] == 1)
    other = draw_canvas(digit, Pose(), 42, pieces=6, seed=4, others=OTHERS)
    assert not torch.equal(other, canvases[3])


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize(("top", "left", "side"), [(10, 60, 40), (3, 3, 100), (70, 20, 25)])
def test_a_drawing_becomes_a_digit_like_mnists(top, left, side, inverted):
    image = torch.zeros(3, 112, 112)
    image[:, top : top + side, left : left + side // 2] = 1
    image[:, top : top + side // 4, left : left + side // 2] = 0
    digit = make_digit(1 - image if inverted else image)
    assert digit.shape == (1, 28, 28)
    rows, columns = (digit[0] > 0.5).nonzero().T
    assert rows.max() - rows.min() + 1 == pytest.approx(20, abs=1)
    assert columns.max() - columns.min() + 1 == pytest.approx(20 * 2 / 3, abs=1.5)
    grid = torch.arange(28) + 0.5
    assert (digit[0].sum(1) @ grid / digit.sum()).item() == pytest.approx(14, abs=0.2)
    assert (digit[0].sum(0) @ grid / digit.sum()).item() == pytest.approx(14, abs=0.2)


def test_nothing_drawn_is_black():
    for shade in (0.0, 0.5, 1.0):
        assert not make_digit(torch.full((3, 112, 112), shade)).any()


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ({"angle": "30"}, "angle must be a number, got str"),
        ({"angle": True}, "angle must be a number, got bool"),
        ({"angle": math.nan}, "angle must be from -360 to 360, got nan"),
        ({"x": math.inf}, "x must be from"),
        ({"x": 10**400}, "x must be from"),
        ({"scale": 0}, "scale must be from 0.2 to 4, got 0"),
        ({"shear": None}, "shear must be a number, got NoneType"),
        ({"y": [1]}, "y must be a number, got list"),
    ],
)
def test_a_pose_that_is_none(payload, message):
    with pytest.raises(OptionError, match=message):
        Pose.parse(payload)


def test_values_have_types_and_ranges():
    assert check.whole({"n": 3.0}, "n", 0, 5, 0) == 3
    for call, message in [
        (lambda: check.whole({"n": 2.5}, "n", 0, 5, 0), "n must be a whole number"),
        (lambda: check.numbers({"t": [1, 2]}, "t", 3, 10), "t must be a list of 3 numbers, got 2"),
        (lambda: check.numbers({"t": [1, "2"]}, "t", 2, 10), r"t\[1\] must be a number, got str"),
        (lambda: check.numbers({}, "t", 2, 10), "t must be a list of 2 numbers, got NoneType"),
        (lambda: check.flag({"f": 1}, "f"), "f must be true or false, got int"),
        (lambda: check.choice({"c": "z"}, "c", ["a", "b"]), "unknown c 'z'. Known: a, b"),
        (lambda: check.choice({"c": {}}, "c", ["a"]), "c must be a text, got dict"),
        (lambda: check.choices({"c": ["a"] * 9}, "c", 4, ["a"]), "at most 4 names"),
        (lambda: check.part({"p": []}, "p"), "p must be an object, got list"),
        (lambda: check.parts({"p": [{}]}, "p", 2), "p must be a list of 2 objects"),
        (lambda: check.data({"d": "!"}, "d", 1), "d is not base64"),
        (lambda: check.data({"d": "é"}, "d", 1), "d is not base64"),
        (lambda: check.data({"d": "AAAA"}, "d", 1), "d must hold 1 bytes, got 3"),
        (lambda: check.data({"d": 3}, "d", 1), "d must be base64 text, got int"),
    ]:
        with pytest.raises(OptionError, match=message):
            call()
    assert check.data({"d": base64.b64encode(b"xyz").decode()}, "d", 3) == b"xyz"
