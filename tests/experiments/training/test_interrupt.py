"""An interrupt at any step loses nothing."""

import signal
from contextlib import nullcontext

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from spatial_transformer.experiments.training.checkpoint import load_checkpoint
from spatial_transformer.experiments.training.interrupt import Interrupted, StopRequest
from spatial_transformer.experiments.training.loop import fit
from spatial_transformer.experiments.training.recipe import Recipe, seed_everything

RECIPE = Recipe(iterations=12, batch_size=4, lr=0.05, average=0.8, clip=1.0)


def batches(k):
    source = torch.Generator().manual_seed(k)
    x = torch.rand(4, 8, generator=source)
    return x, (x[:, 0] > 0.5).long()


def train(**options):
    seed_everything(0)
    model = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Dropout(0.1), nn.Linear(6, 2))
    return fit(Fabric(accelerator="cpu", devices=1), model, batches, RECIPE, **options)


class Interrupter(nullcontext):
    """Interrupts a run during its steps, once or more often."""

    def __init__(self, step, number=signal.SIGINT, times=1):
        super().__init__()
        self.at, self.number, self.times = step, number, times

    def step(self, iteration, loss, error):
        if iteration == self.at:
            for _ in range(self.times):
                signal.raise_signal(self.number)


@pytest.mark.parametrize("step", range(1, 12))
def test_the_step_it_comes_in_is_saved_and_training_goes_on_from_it(step, tmp_path):
    whole = train()
    file = tmp_path / "checkpoint.pt"
    number = signal.SIGTERM if step == 5 else signal.SIGINT
    with pytest.raises(Interrupted, match=rf"after step {step} of 12, which is saved: the same"):
        train(checkpoint=file, checkpoint_every=100, callbacks=[Interrupter(step, number)])
    assert load_checkpoint(file)["iteration"] == step
    resumed = train(checkpoint=file, checkpoint_every=100)
    assert resumed.train_loss == whole.train_loss
    for one, other in zip(resumed.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_without_a_checkpoint_nothing_is_said_of_one():
    with pytest.raises(Interrupted, match=r"stopped after step 3 of 12$"):
        train(callbacks=[Interrupter(3)])


def test_a_second_one_is_not_waited_for(tmp_path):
    with pytest.raises(KeyboardInterrupt) as error:
        train(checkpoint=tmp_path / "checkpoint.pt", callbacks=[Interrupter(3, times=2)])
    assert not isinstance(error.value, Interrupted)
    assert not (tmp_path / "checkpoint.pt").exists()


def test_handlers_are_put_back_and_ignored_signals_stay_ignored():
    before = signal.getsignal(signal.SIGINT)
    with StopRequest():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with StopRequest() as stop:
            signal.raise_signal(signal.SIGINT)
            assert not stop.requested
    finally:
        signal.signal(signal.SIGINT, before)
