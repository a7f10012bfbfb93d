"""A run that comes to NaN or infinity stops there, says where, and leaves nothing of it behind."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from spatial_transformer.errors import CheckpointError, DivergenceError
from spatial_transformer.experiments.training.checkpoint import load_checkpoint, save_checkpoint
from spatial_transformer.experiments.training.divergence import DivergenceGuard, describe_batch
from spatial_transformer.experiments.training.history import History
from spatial_transformer.experiments.training.loop import fit
from spatial_transformer.experiments.training.recipe import Recipe, seed_everything
from spatial_transformer.finite import not_finite
from spatial_transformer.modules.classifier import Transformed
from spatial_transformer.modules.spatial_transformer import SpatialTransformer

RECIPE = Recipe(iterations=12, batch_size=6, lr=0.01)
PAPERS = replace(RECIPE, optimiser="sgd", lr=0.1, schedule="step", average=0.0, weight_decay=0.0)
RECIPES = {"Recipe()": RECIPE, "the paper's": PAPERS, "clipped": replace(RECIPE, clip=1.0)}


def batches(k):
    """Which half of an image is brighter."""
    images = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(k))
    return images, (images[..., :4].sum((1, 2, 3)) > images[..., 4:].sum((1, 2, 3))).long()


def spoilt(step, value=math.nan, image=2):
    """The same batches, but for one pixel of the batch of a step."""

    def drawn(k):
        images, labels = batches(k)
        if k == step - 1:
            images[image, 0, 3, 4] = value
        return images, labels

    return drawn


def build(norm=False):
    seed_everything(0)
    layer = SpatialTransformer("fully_connected", "affine")
    inner = [nn.Conv2d(1, 4, 3), *([nn.BatchNorm2d(4)] if norm else []), nn.ReLU()]
    model = Transformed(layer, nn.Sequential(*inner, nn.Flatten(), nn.Linear(144, 2)))
    model(torch.rand(2, 1, 8, 8))  # sizes the lazy layers
    return model


def train(recipe=RECIPE, drawn=batches, model=None, **options):
    fabric = Fabric(accelerator="cpu", devices=1)
    options = {"checkpoint_every": 2, **options}
    return fit(fabric, build() if model is None else model, drawn, recipe, **options)


class TestPixels:
    """One pixel of one batch, which the loss does not show: outside is finite."""

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    @pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
    def test_the_run_stops_at_that_step(self, recipe, value, tmp_path):
        file, model = tmp_path / "checkpoint.pt", build()
        with pytest.raises(DivergenceError) as caught:
            train(recipe, spoilt(6, value), model, checkpoint=file)
        text = str(caught.value)
        assert text.startswith("step 6: the gradient of transformer.localisation.")
        assert "Batch 5 holds NaN or infinite pixels in images 2." in text
        assert text.endswith(f"The checkpoint of step 4 is whole: {file}")
        assert isinstance(caught.value, ArithmeticError)
        # nothing of it is in the weights, nor would be added to the next gradient
        assert not_finite(model.state_dict()) == []
        assert all(p.grad is None for p in model.parameters())
        state = load_checkpoint(file)
        assert state["iteration"] == 4
        assert not_finite(state) == []

    @pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
    def test_it_goes_on_as_if_nothing_had_been(self, recipe, tmp_path):
        file = tmp_path / "checkpoint.pt"
        whole = train(recipe)
        for _ in range(2):  # with the same data it stops there again
            with pytest.raises(DivergenceError, match="step 6: "):
                train(recipe, spoilt(6), checkpoint=file)
        resumed = train(recipe, checkpoint=file)
        for a, b in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
            assert torch.equal(a, b)
        assert whole.train_loss == resumed.train_loss

    def test_without_a_checkpoint(self):
        with pytest.raises(DivergenceError, match="There is no checkpoint"):
            train(drawn=spoilt(1))

    def test_a_loss_that_shows_it(self):
        with pytest.raises(DivergenceError, match="step 3: the loss is nan, the gradient of 1.wei"):
            train(drawn=spoilt(3), model=nn.Sequential(nn.Flatten(), nn.Linear(64, 2)))

    def test_statistics_of_batch_norms(self, tmp_path):
        """Infinite activations of an image whose gradient is nothing."""

        def objective(network, batch):
            images, labels = batch
            return nn.functional.cross_entropy(network(images), labels[:2]), torch.zeros(())

        class Normed(nn.Module):
            def __init__(self):
                super().__init__()
                self.norm, self.head = nn.BatchNorm2d(1), nn.Linear(64, 2)

            def forward(self, images):
                self.norm(images)
                return self.head(images[:2].flatten(1))

        file = tmp_path / "checkpoint.pt"
        with pytest.raises(DivergenceError, match="step 5: the buffer norm.running_mean and 1"):
            train(drawn=spoilt(5), model=Normed(), objective=objective, checkpoint=file)
        assert not_finite(load_checkpoint(file)) == []

    @pytest.mark.slow
    def test_compiled(self, tmp_path):
        file = tmp_path / "checkpoint.pt"
        with pytest.raises(DivergenceError, match="step 4: the gradient of .*images 2"):
            train(drawn=spoilt(4), compiled=True, checkpoint=file)
        assert load_checkpoint(file)["iteration"] == 2


class TestRates:
    """Batches are finite, steps are too large."""

    @pytest.mark.parametrize("clip", [0.0, 1.0])
    @pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
    @pytest.mark.parametrize("lr", [1e6, 1e18, 1e30])
    def test_it_stops_before_anything_is_written(self, lr, optimiser, clip, tmp_path):
        file = tmp_path / "checkpoint.pt"
        recipe = replace(RECIPE, lr=lr, optimiser=optimiser, clip=clip, iterations=60)
        history = History(batches(0)[0], recipe.iterations)
        with pytest.raises(DivergenceError, match=r"^step \d+: .* is finite: a lower lr, or"):
            train(recipe, checkpoint=file, checkpoint_every=1, history=history)
        if file.exists():
            state = load_checkpoint(file)
            assert not_finite({**state, "history": None}) == []

    def test_an_update_that_overflows_is_named(self, tmp_path):
        def objective(network, batch):
            return 1e10 * network(batch[0]).square().mean(), torch.zeros(())

        file = tmp_path / "checkpoint.pt"
        recipe = replace(PAPERS, lr=1e30)
        with pytest.raises(DivergenceError, match="step 1: its update made .* not finite. Batch 0"):
            train(recipe, objective=objective, checkpoint=file, checkpoint_every=1)
        assert not file.exists()
        # by the next step, where nothing is saved; by the last one, after which nothing comes
        for iterations in (1, 2, 9):
            with pytest.raises(DivergenceError, match="step 1: its update made"):
                train(replace(recipe, iterations=iterations), objective=objective)

    def test_gradients_whose_squares_overflow(self):
        """Adam would divide by infinity: those weights would never move again."""

        def objective(network, batch):
            return 1e25 * network(batch[0]).square().mean(), torch.zeros(())

        for clip in (0.0, 1.0):
            with pytest.raises(DivergenceError, match="step 1: the squares of the gradients"):
                train(replace(RECIPE, clip=clip), objective=objective)

    def test_a_loss_or_an_error_of_ones_own(self):
        def objective(network, batch):
            return network(batch[0]).square().mean(), torch.tensor(math.nan)

        with pytest.raises(DivergenceError, match="step 1: the error is nan"):
            train(objective=objective)


class TestGuard:
    def test_a_model_that_is_not_finite_to_begin_with(self):
        model = build(norm=True)
        model.classifier[1].running_mean[0] = math.nan
        with pytest.raises(DivergenceError, match="before the first step: classifier.1.running_m"):
            train(model=model)
        with torch.no_grad():
            model.transformer.localisation.head.bias[0] = math.inf
        with pytest.raises(DivergenceError, match="transformer.localisation.head.bias and 1 more"):
            train(model=model)

    def test_masks_may_be_infinite(self, tmp_path):
        class Masked(nn.Linear):
            def __init__(self):
                super().__init__(64, 2)
                self.register_buffer("mask", torch.tensor([0.0, -math.inf]))

            def forward(self, images):
                return super().forward(images.flatten(1)) + self.mask.exp()

        file = tmp_path / "checkpoint.pt"
        train(model=Masked(), checkpoint=file, stop_after=4)
        fitted = train(model=Masked(), checkpoint=file)
        assert load_checkpoint(file)["iteration"] == RECIPE.iterations
        assert math.isfinite(fitted.train_loss)

    @pytest.mark.parametrize("scale", [1.0, 2.0])
    def test_gradients_that_are_scaled(self, scale):
        """The scaler leaves out steps that overflow by its scale, and no other."""

        class Scaler:
            def get_scale(self):
                return scale

        model = nn.Linear(1, 1)
        guard = DivergenceGuard(model, lambda k: (torch.zeros(1, 1),))
        model.weight.grad = torch.full((1, 1), math.inf)
        numbers = torch.tensor(0.5), torch.tensor(25.0)
        if scale > 1:
            assert guard.check_step(3, *numbers, Scaler()) == (0.5, 25.0)
        else:
            with pytest.raises(DivergenceError, match="step 4: the gradient of weight"):
                guard.check_step(3, *numbers, Scaler())

    def test_large_weights_are_no_divergence(self):
        model = nn.Linear(3, 1)
        nn.init.constant_(model.weight, 1e30)  # whose squares are infinite
        guard = DivergenceGuard(model, lambda k: (torch.zeros(1, 1),))
        model.weight.grad = torch.ones(1, 3)
        assert guard.check_step(0, torch.tensor(1.0), torch.tensor(2.0)) == (1.0, 2.0)

    def test_parameters_of_several_dtypes_and_of_no_entries(self):
        model = nn.ModuleList([nn.Linear(2, 2).double(), nn.Linear(0, 2), nn.Linear(2, 2).half()])
        guard = DivergenceGuard(model, lambda k: (torch.zeros(1, 1),))
        for p in model.parameters():
            p.grad = torch.ones_like(p)
        model[2].bias.requires_grad_(False).grad = None
        loss = torch.tensor(0.1, dtype=torch.double)
        assert guard.check_step(0, loss, loss) == (0.1, 0.1)
        model[0].bias.grad[0] = math.nan
        with pytest.raises(DivergenceError, match=r"step 1: the gradient of 0.bias is not finite"):
            guard.check_step(0, loss, loss)

    def test_the_state_of_a_batch(self):
        images, targets = torch.zeros(20, 1, 2, 2), torch.zeros(20)
        assert "Batch 7 is finite" in describe_batch(7, (images, targets))
        targets[3] = math.nan
        assert describe_batch(7, (images, targets)) == (
            "Batch 7 holds NaN or infinite numbers in targets 3."
        )
        images[1:15, 0, 1, 0] = -math.inf
        images[4] = math.nan
        assert describe_batch(7, (images, targets)) == (
            "Batch 7 holds NaN or infinite pixels in images 1, 2, 3, 4, 5, 6, 7, 8, ...."
        )
        assert "is finite" in describe_batch(0, (images[:0], torch.zeros(0, dtype=torch.long)))


class TestFiles:
    @pytest.mark.parametrize(
        ("part", "name"),
        [
            ("model", "model.classifier.3.bias"),
            ("averaged", "averaged.module.classifier.3.bias"),
            ("optimiser", "optimiser.state.0.exp_avg"),
            ("loss", "loss"),
        ],
    )
    def test_a_checkpoint_that_is_not_finite_is_not_gone_on_with(self, part, name, tmp_path):
        file: Path = tmp_path / "checkpoint.pt"
        train(checkpoint=file, stop_after=2)
        state = load_checkpoint(file)
        if part == "optimiser":
            state[part]["state"][0]["exp_avg"].fill_(math.nan)
        elif part == "loss":
            state[part] = math.nan
        else:
            state[part][name.removeprefix(f"{part}.")][0] = math.inf
        save_checkpoint(file, state)
        with pytest.raises(CheckpointError, match=rf"checkpoint.pt: not finite: {name}$"):
            train(checkpoint=file)
