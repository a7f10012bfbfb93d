"""Whoever looks at a network leaves every part of it in the mode in which its owner had it."""

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from spatial_transformer.evaluating import evaluating
from spatial_transformer.experiments.training import loop
from spatial_transformer.experiments.training.history import History
from spatial_transformer.experiments.training.loop import evaluate, fit
from spatial_transformer.experiments.training.recipe import Recipe
from spatial_transformer.integrations.tensorboard import log_transformer
from spatial_transformer.localisation import Localisation
from spatial_transformer.modules.classifier import Transformed
from spatial_transformer.modules.predict import predict
from spatial_transformer.modules.spatial_transformer import SpatialTransformer
from spatial_transformer.viz.stages import find_stages

IMAGES, LABELS = torch.rand(4, 1, 8, 8), torch.tensor([0, 1, 2, 0])


class Witness(nn.Module):
    """Notes the mode in which it works; fails when told to."""

    def __init__(self):
        super().__init__()
        self.modes, self.fails = [], False

    def forward(self, x):
        self.modes.append(self.training)
        if self.fails:
            raise KeyboardInterrupt
        return x


@pytest.fixture
def model():
    """In training mode, but for two parts that its owner has frozen."""
    body = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Dropout())
    layer = SpatialTransformer(Localisation(body, "affine", in_shape=(1, 8, 8)), "affine")
    inner = nn.Sequential(nn.Flatten(), Witness(), nn.Dropout(), nn.Linear(64, 3))
    model = Transformed(layer, inner)
    body[1].eval()
    inner[2].eval()
    return model


class Writer:
    def add_scalar(self, *args): ...
    def add_histogram(self, *args): ...
    def add_image(self, *args): ...


def warm_up(model):
    """What `fit` does before the first step of a compiled run; its steps fail."""

    def objective(network, batch):
        raise KeyboardInterrupt

    fabric, recipe = Fabric(accelerator="cpu", devices=1), Recipe(iterations=1)
    with pytest.raises(KeyboardInterrupt):
        fit(fabric, model, lambda k: (IMAGES, LABELS), recipe, objective=objective, compiled=True)


PLACES = {
    "evaluating": lambda model: enter(model),
    "predict": lambda model: predict(model, IMAGES),
    "evaluate": lambda model: evaluate(model, [(IMAGES, LABELS)]),
    "find_stages": lambda model: find_stages(model, IMAGES),
    "log_transformer": lambda model: log_transformer(Writer(), model, IMAGES, 0),
    "history": lambda model: History(IMAGES, 10).see(0, model, [0.1], 0.0, 0.0),
    "warm-up of a compiled run": warm_up,
}


def enter(model):
    with evaluating(model):
        model(IMAGES)


@pytest.mark.parametrize("fails", [False, True], ids=["", "which fails"])
@pytest.mark.parametrize("place", PLACES)
def test_every_part_keeps_its_own_mode(model, place, fails, monkeypatch):
    monkeypatch.setattr(loop, "_compile", lambda model, device: model)
    witness = model.classifier[1]
    before = {name: part.training for name, part in model.named_modules()}
    statistics = model.transformer.localisation.state_dict()
    witness.fails = fails
    try:
        PLACES[place](model)
        assert not fails or place == "warm-up of a compiled run"
    except KeyboardInterrupt:
        assert fails
    assert witness.modes
    assert not any(witness.modes)
    assert {name: part.training for name, part in model.named_modules()} == before
    for name, value in model.transformer.localisation.state_dict().items():
        assert torch.equal(value, statistics[name])


def test_training_leaves_frozen_parts_frozen(model):
    norm = model.transformer.localisation.body[1]
    mean = norm.running_mean.clone()
    fabric, recipe = Fabric(accelerator="cpu", devices=1), Recipe(iterations=2)
    fit(fabric, model, lambda k: (IMAGES, LABELS), recipe)
    assert torch.equal(norm.running_mean, mean)
    assert model.classifier[1].modes == [True, True]
    assert not model.classifier[2].training


def test_training_takes_a_loaded_network_out_of_evaluation_mode(model):
    fabric, recipe = Fabric(accelerator="cpu", devices=1), Recipe(iterations=2)
    fit(fabric, model.eval(), lambda k: (IMAGES, LABELS), recipe)
    assert model.classifier[1].modes == [True, True]
    assert all(part.training for part in model.modules())


def test_modules_with_a_train_method_of_their_own_are_told():
    """As low-rank adapters have it, which merge their weights for evaluation."""

    class Merging(nn.Linear):
        merged = False

        def train(self, mode=True):
            if self.merged != (not mode):
                self.merged = not mode
                self.weight.data += 1 if self.merged else -1
            return super().train(mode)

    class Frozen(nn.Module):
        def __init__(self):
            super().__init__()
            self.part = nn.Dropout()

        def train(self, mode=True):
            super().train(mode)
            self.part.eval()
            return self

    model = nn.Sequential(Merging(1, 1), Frozen().train())
    weight = model[0].weight.detach().clone()
    with evaluating(model):
        assert torch.equal(model[0].weight, weight + 1)
    assert torch.equal(model[0].weight, weight)
    assert [part.training for part in model.modules()] == [True, True, True, False]


def test_sizing_a_localisation_network_counts_in_no_statistics():
    state = torch.get_rng_state()
    body = nn.Sequential(nn.LazyBatchNorm2d(), nn.Flatten(), nn.Dropout(), nn.BatchNorm1d(64))
    layer = Localisation(body, "affine", in_shape=(1, 8, 8))
    assert torch.equal(torch.get_rng_state(), state)
    for norm in (body[0], body[3]):
        assert norm.num_batches_tracked == 0
        assert not norm.running_mean.any()
    assert all(part.training for part in layer.modules())
