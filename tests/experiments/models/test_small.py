"""Lin & Lucey's networks: parameters by hand, and what their steps compose to."""

import numpy as np
import pytest
import torch

from spatial_transformer.errors import OptionError, ShapeError, TransformError
from spatial_transformer.experiments.models.build import ModelConfig, build_model, count_parameters
from spatial_transformer.experiments.models.small import (
    SmallClassifier,
    SmallCNN,
    SmallLocalisation,
)
from spatial_transformer.modules.predict import find_transformer, predict
from spatial_transformer.transforms import Projective

ALIGNED = ("st_small", "st_series2", "st_series4", "st_ic2", "st_ic4")


def test_parameters_by_hand():
    # 28 -> conv 26 -> conv 24 -> pool 12 -> conv 10 -> conv 8
    convolutions = (9 + 1) * 3 + (9 * 3 + 1) * 6 + (9 * 6 + 1) * 9 + (9 * 9 + 1) * 12
    dense = (8 * 8 * 12 + 1) * 48 + (48 + 1) * 10
    assert count_parameters(SmallCNN((1, 28, 28), 48)) == convolutions + dense == 39_079
    # 28 -> conv 20
    classifier = (81 + 1) * 3 + (20 * 20 * 3 + 1) * 10
    assert count_parameters(SmallClassifier((1, 28, 28))) == classifier
    # 28 -> conv 22 -> conv 16 -> pool 8
    localisation = (49 + 1) * 4 + (49 * 4 + 1) * 8 + (8 * 8 * 8 + 1) * 48 + (48 + 1) * 8
    stage = SmallLocalisation((1, 28, 28), 48, Projective())
    assert count_parameters(stage) == localisation
    assert classifier + localisation == 39_048


@pytest.mark.parametrize("transform", ["affine", "projective"])
def test_each_takes_the_same_budget(transform):
    counts = {
        name: count_parameters(
            build_model(ModelConfig(name, transform=transform, parameters=39_048))
        )
        for name in ALIGNED
    }
    assert set(counts.values()) == {39_048 if transform == "projective" else 39_048 - 2 * 49}
    assert count_parameters(build_model(ModelConfig("small", parameters=39_048))) == 39_079


@pytest.mark.parametrize("name", ["small", *ALIGNED])
def test_they_take_signs_as_well(name):
    config = ModelConfig(name, (3, 32, 36), 43, parameters=150_000, size=24)
    model = build_model(config)
    assert count_parameters(model) == pytest.approx(150_000, rel=0.01)
    images = torch.rand(2, 3, 32, 36)
    assert model(images).shape == (2, 43)
    if name != "small":
        assert predict(model, images).warped.shape == (2, 1, 3, 24, 24)


@pytest.mark.parametrize("name", ALIGNED)
def test_steps_share_their_weights_and_compose(name):
    """The predicted matrix, alike at every step, to the power of the number of steps."""
    steps = int(name[-1]) if name[-1].isdigit() else 1
    config = ModelConfig(name, transform="projective", parameters=39_048)
    model = build_model(config)
    theta = torch.tensor([0.9, 0.1, 0.05, -0.1, 1.1, 0.1, 0.02, -0.03])
    stage = find_transformer(model).localisation[0]
    with torch.no_grad():
        stage.head.bias.copy_(theta)
    power = np.linalg.matrix_power(np.append(theta.double().numpy(), 1).reshape(3, 3), steps)
    _, warped, found = model(torch.rand(2, 1, 28, 28), return_warped=True)
    wanted = (power / power[2, 2]).ravel()[:8]
    np.testing.assert_allclose(found.detach().numpy(), np.stack([wanted] * 2), atol=1e-5)
    one = build_model(ModelConfig("st_small", transform="projective", parameters=39_048))
    one.load_state_dict(model.state_dict())  # the same network, run through once
    assert one(warped.detach()).shape == (2, 10)


def test_untrained_they_all_see_the_image_itself():
    images = torch.rand(2, 1, 28, 28)
    for name in ALIGNED:
        _, warped, _ = build_model(ModelConfig(name))(images, return_warped=True)
        assert torch.equal(warped, images)


def test_each_step_learns():
    for name in ALIGNED:
        model = build_model(ModelConfig(name, parameters=39_048))
        stage = find_transformer(model).localisation[0]
        torch.nn.init.normal_(stage.head.weight, std=0.01)
        model(torch.rand(4, 1, 28, 28)).square().sum().backward()
        assert all(p.grad.abs().sum() > 0 for p in model.parameters())


def test_bad_options_are_named():
    with pytest.raises(OptionError, match="of 9000 .* too small: the classifier alone takes 12256"):
        build_model(ModelConfig("st_ic4", parameters=9000))
    with pytest.raises(OptionError, match=r"st_ic4 is for images \(C, H, W\), got \(1, 30, 30, 30"):
        build_model(ModelConfig("st_ic4", (1, 30, 30, 30)))
    with pytest.raises(TransformError, match="no composition within its family"):
        build_model(ModelConfig("st_ic4", transform="thin_plate_spline"))
    with pytest.raises(ShapeError, match=r"SmallCNN needs .* 14x14 pixels, got \(13, 20\)"):
        build_model(ModelConfig("small", (1, 13, 20)))
    with pytest.raises(ShapeError, match=r"SmallLocalisation needs .* 14x14 pixels, got \(20, 13"):
        build_model(ModelConfig("st_ic2", (1, 20, 13), size=28))
    with pytest.raises(ShapeError, match=r"SmallClassifier needs .* 9x9 pixels, got \(8, 8\)"):
        build_model(ModelConfig("st_ic2", size=8))
