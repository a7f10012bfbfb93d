"""Predictions of networks; those of transformers are tested where pictures are made of them."""

import torch
from torch import nn

from spatial_transformer.modules.predict import predict


def test_a_network_without_parameters():
    images = torch.rand(3, 1, 4, 4)
    prediction = predict(nn.Flatten(), images)
    assert torch.equal(prediction.scores, images.flatten(1))
    assert prediction.warped is None
    assert prediction.theta is None


def test_images_have_the_networks_precision():
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 3)).double()
    assert predict(network, torch.rand(3, 1, 4, 4)).scores.dtype == torch.float64
