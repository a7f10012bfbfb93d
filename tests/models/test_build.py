"""The classifiers: the paper's layers, equal budgets."""

import pytest
import torch

from spatial_transformer.errors import OptionError, ShapeError
from spatial_transformer.models.build import MODELS, ModelConfig, build_model, count_parameters
from spatial_transformer.models.cnn import CNN
from spatial_transformer.models.fcn import FCN


@pytest.mark.parametrize("size", [(28, None), (42, 28), (60, 30)])
@pytest.mark.parametrize("transform", ["affine", "projective", "thin_plate_spline"])
@pytest.mark.parametrize("name", MODELS.names())
def test_every_model_of_table_1_has_400k_parameters_within_2_percent(name, transform, size):
    n, sampled = size
    model = build_model(ModelConfig(name, (1, n, n), transform=transform, size=sampled))
    assert count_parameters(model) == pytest.approx(400_000, rel=0.02)
    assert model(torch.rand(2, 1, n, n)).shape == (2, 10)


def test_parameters_by_hand():
    assert count_parameters(FCN((1, 28, 28), 128)) == 784 * 128 + 128 + 128 * 129 + 1290
    # 28 -> conv 20 -> pool 10 -> conv 4 -> pool 2
    wanted = 81 * 32 + 32 + 49 * 32 * 32 + 32 + 4 * 32 * 10 + 10
    assert count_parameters(CNN((1, 28, 28), 32)) == wanted


def test_a_transformed_model_tells_what_it_saw():
    model = build_model(ModelConfig("st_cnn", (1, 42, 42), size=28, parameters=40_000))
    logits, warped, theta = model(torch.rand(3, 1, 42, 42), return_warped=True)
    assert logits.shape == (3, 10)
    assert warped.shape == (3, 1, 28, 28)
    assert theta.shape == (3, 6)


def test_bad_options_are_named():
    with pytest.raises(OptionError, match="a budget of 10 parameters is too small"):
        build_model(ModelConfig("fcn", parameters=10))
    with pytest.raises(ShapeError, match=r"at least 24x24 pixels, got \(20, 20\)"):
        build_model(ModelConfig("cnn", (1, 20, 20)))
    with pytest.raises(OptionError, match="unknown model 'resnet'"):
        build_model(ModelConfig("resnet"))
