"""The digits that the demo opens on: in poses of the training, read by one network alone."""

import base64
import math

import pytest
import torch
from torch import nn

from spatial_transformer.demo.differences import draw_poses
from spatial_transformer.demo.digits import DigitsTab
from spatial_transformer.demo.networks import pose_range
from spatial_transformer.errors import DataError, OptionError
from spatial_transformer.experiments.data.distortion import PoseRange
from spatial_transformer.experiments.data.stream import DISTORTIONS, Digits, generator
from spatial_transformer.experiments.models.build import ModelConfig
from spatial_transformer.pretrained import Pretrained

# a class is a digit's brightness: 50, 75 or 100
LABELS = torch.arange(300) % 3
SHADES = (50 + 25 * LABELS).to(torch.uint8)
DIGITS = Digits(torch.zeros(300, 28, 28, dtype=torch.uint8), LABELS)
DIGITS.images[:, 8:20, 8:20] = SHADES[:, None, None]


class Brightest(nn.Module):
    """Reads a digit right, but for those whose middle is left of the image's if it is told so."""

    def __init__(self, left_is_wrong):
        super().__init__()
        self.left_is_wrong = left_is_wrong
        self.step = nn.Parameter(torch.tensor(25.0))

    def forward(self, image):
        label = ((image.amax((1, 2, 3)) * 255 - 50) / self.step).round().long().clamp(0, 2)
        mass = image.sum((1, 2))
        middle = mass @ torch.arange(image.shape[-1]).float() / mass.sum(1)
        wrong = self.left_is_wrong & (middle < image.shape[-1] / 2 - 2)
        return 5 * nn.functional.one_hot(torch.where(wrong, 9, label), 10).float()


def network(name, left_is_wrong, dataset="rts"):
    config = ModelConfig("cnn", in_shape=(1, 42, 42))
    return Pretrained(Brightest(left_is_wrong), config, dataset, name, None)


NETWORKS = [network("sure", False), network("left", True), network("same", False)]


@pytest.mark.parametrize("name", DISTORTIONS.names())
def test_poses_are_those_of_the_data_set(name):
    distortion = DISTORTIONS.make(name)
    ranges = distortion.poses
    poses = draw_poses(ranges, distortion.size, 400, generator("cpu", 0))
    angles, scales = [p.angle for p in poses], [p.scale for p in poses]
    low, high = (math.degrees(a) for a in ranges.angle)
    assert low - 0.5 <= min(angles) <= low + 0.05 * (high - low)
    assert high + 0.5 >= max(angles) >= high - 0.05 * (high - low)
    assert ranges.scale[0] - 0.005 <= min(scales) <= max(scales) <= ranges.scale[1] + 0.005
    for pose in poses:
        room = distortion.size / 2 - 14 * pose.scale if ranges.moved else 0
        assert max(abs(pose.x), abs(pose.y)) <= room + 0.051
    assert any(p.x for p in poses) == ranges.moved


def test_the_digit_that_is_found_is_read_by_the_first_alone():
    tab = DigitsTab(NETWORKS, DIGITS)
    for seed in range(3):
        found = tab.differ({"networks": ["sure", "left"], "seed": seed})
        assert found["differs"]
        assert found["pose"]["x"] < -2
        assert found["label"] == LABELS[found["number"]]
        request = {key: found[key] for key in ("digit", "pose")}
        clutter = {"pieces": found["pieces"], "seed": seed}
        both = tab.look({**request, "clutter": clutter, "networks": ["sure", "left"]})["networks"]
        assert [n["prediction"] for n in both] == [found["label"], 9]
    assert tab.differ({"networks": ["sure", "left"], "seed": 0}) != found


def test_networks_that_agree_or_are_alone():
    tab = DigitsTab(NETWORKS, DIGITS)
    assert not tab.differ({"networks": ["sure", "same"], "seed": 0})["differs"]
    assert not tab.differ({"networks": ["left", "sure"], "seed": 0})["differs"]
    assert not tab.differ({"networks": ["sure"], "seed": 0})["differs"]


def test_a_drawing_without_mnist():
    tab = DigitsTab(NETWORKS, None)
    drawn = base64.b64encode(DIGITS.images[1].numpy().tobytes()).decode()
    found = tab.differ({"networks": ["sure", "left"], "seed": 0, "digit": drawn})
    assert found["differs"]
    assert found["digit"] == drawn
    assert "label" not in found
    with pytest.raises(DataError, match="MNIST is not on this machine"):
        tab.differ({"networks": ["sure"]})
    with pytest.raises(OptionError, match="networks must name one or two"):
        tab.differ({"networks": []})


def test_a_data_set_of_somebody_elses_has_no_ranges():
    assert pose_range(network("a", False, "theirs")) is None
    assert pose_range(network("a", False, "tc")) == PoseRange(moved=True, pieces=6)
