"""Networks for sequences: the published layers, counted by hand."""

import pytest
import torch
from torch import nn

import spatial_transformer as stn
from spatial_transformer.errors import ShapeError
from spatial_transformer.experiments.models.build import ModelConfig, build_model, count_parameters
from spatial_transformer.experiments.models.sequence import Glimpses, Reader, convolutions, features


def conv(inputs, outputs):
    return 9 * inputs * outputs + outputs


def linear(inputs, outputs):
    return inputs * outputs + outputs


#: 100 -> pool 50 -> conv 48 -> pool 24 -> conv 22 -> pool 11 -> conv 9
FEATURES = conv(1, 20) + 2 * conv(20, 20)
COUNT = 20 * 9 * 9
PARAMETERS = {
    # 100 -> conv 98 -> pool 49 -> conv 47 -> pool 23 -> conv 21 -> pool 10 -> conv 8
    "cnn_sequence": conv(1, 32) + 3 * conv(32, 32) + linear(32 * 8 * 8, 400) + linear(400, 30),
    # 50 -> conv 48 -> pool 24 -> conv 22 -> pool 11 -> conv 9
    "st_sequence": FEATURES + linear(COUNT, 200) + linear(200, 6)
    + conv(1, 96) + 2 * conv(96, 96) + linear(96 * 9 * 9, 400) + linear(400, 30),
    # a GRU has three gates, and two biases for each; 33 -> 31 -> 15 -> 13 -> 6 -> 4
    "st_rnn_sequence": FEATURES + 3 * (linear(COUNT, 256) + linear(256, 256)) + linear(256, 6)
    + conv(1, 32) + 2 * conv(32, 32) + linear(32 * 4 * 4, 400) + linear(400, 10),
}  # fmt: skip
SIZES = {"cnn_sequence": None, "st_sequence": 50, "st_rnn_sequence": 33}


def build(name, **options):
    config = ModelConfig(name, (1, 100, 100), size=SIZES[name], length=3)
    return build_model(config)


@pytest.mark.parametrize("name", PARAMETERS)
def test_its_layers_are_the_published_ones(name):
    model = build(name)
    assert count_parameters(model) == PARAMETERS[name]
    image = torch.rand(2, 1, 100, 100)
    if name == "cnn_sequence":
        assert model(image).shape == (2, 3, 10)
        return
    scores, warped, theta = model(image, return_warped=True)
    assert scores.shape == (2, 3, 10)
    many = (3,) if name == "st_rnn_sequence" else ()
    assert warped.shape == (2, *many, 1, SIZES[name], SIZES[name])
    assert theta.shape == (2, *many, 6)
    assert torch.equal(theta, stn.Affine().identity().expand_as(theta))  # at first
    scores.square().sum().backward()
    assert model.transformer.localisation.head.weight.grad.abs().sum() > 0


def test_features_are_those_of_conv_rectifier_pool():
    """As published, and slower: the rectifier before the pool."""
    layers, count = features((1, 100, 100))
    assert count == COUNT
    image = torch.rand(2, 1, 100, 100) - 0.5
    convs = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    value = torch.max_pool2d(image, 2)
    for k, layer in enumerate(convs):
        value = torch.relu(layer(value))
        value = value if k == 2 else torch.max_pool2d(value, 2)
    torch.testing.assert_close(layers(image), value.flatten(1))


def test_one_classifier_reads_all_glimpses():
    reader = Reader((1, 33, 33), 4, 3, 1, 10)
    glimpses = torch.rand(2, 3, 1, 33, 33)
    scores = Glimpses(reader)(glimpses)
    assert scores.shape == (2, 3, 10)
    for k in range(3):
        torch.testing.assert_close(scores[:, k], reader(glimpses[:, k])[:, 0])


def test_lengths_and_classes_are_the_configs():
    for name in PARAMETERS:
        config = ModelConfig(name, (3, 64, 60), 11, size=40, length=5)
        assert build_model(config)(torch.rand(2, 3, 64, 60)).shape == (2, 5, 11)


def test_images_that_are_too_small_are_named():
    with pytest.raises(ShapeError, match=r"3 convolutions do not fit into images of \(17, 30\)"):
        convolutions((1, 17, 30), 2, 3)
    convolutions((1, 18, 30), 2, 3)
    for name in PARAMETERS:
        with pytest.raises(ShapeError, match="do not fit into images of"):
            build_model(ModelConfig(name, (1, 30, 30), length=3))
        with pytest.raises(ShapeError, match="do not fit into images of"):
            build_model(ModelConfig(name, (1, 60, 60, 60), length=3))
