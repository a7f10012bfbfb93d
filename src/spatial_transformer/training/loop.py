"""The training loop: fresh batches in, a trained model and its errors out."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from spatial_transformer.errors import CheckpointError
from spatial_transformer.training.checkpoint import load_checkpoint, save_checkpoint
from spatial_transformer.training.progress import Watcher
from spatial_transformer.training.recipe import Recipe

#: how much a step counts in the smoothed loss and error that are shown
SMOOTHING = 0.05

Batches = Callable[[int], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Fitted:
    """A trained model (averaged, if the recipe averages) and its last smoothed training loss."""

    model: nn.Module
    train_loss: float


@torch.no_grad()
def evaluate(
    model: nn.Module, images: Tensor, labels: Tensor, block: int = 500
) -> tuple[float, float]:
    """Mean cross entropy and error in percent over all ``images``, ``(N, C, H, W)``."""
    training = model.training
    model.eval()
    loss = wrong = torch.zeros((), device=images.device, dtype=torch.float64)
    for start in range(0, len(labels), block):
        logits = model(images[start : start + block]).float()
        truth = labels[start : start + block]
        loss = loss + F.cross_entropy(logits, truth, reduction="sum")
        wrong = wrong + (logits.argmax(1) != truth).sum()
    model.train(training)
    return float(loss) / len(labels), 100 * float(wrong) / len(labels)


def fit(
    fabric: Fabric,
    model: nn.Module,
    batches: Batches,
    recipe: Recipe,
    *,
    checkpoint: Path | None = None,
    checkpoint_every: int = 500,
    identity: dict[str, Any] | None = None,
    watchers: Sequence[Watcher] = (),
    stop_after: int | None = None,
) -> Fitted:
    """Train ``model`` for ``recipe.iterations`` steps of cross entropy on ``batches(k)``.

    If ``checkpoint`` exists, training goes on from it exactly as if it had not stopped: weights,
    optimiser, schedule, average and torch's generator are restored, and batch k depends on k alone.

    Args:
        identity: what the run is, kept in the checkpoint; another run's checkpoint is refused.
        stop_after: stop at this iteration with a checkpoint, as a kill would.
    Raises: CheckpointError.
    """
    if recipe.channels_last:
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser, schedule = recipe.build(model)
    averaged = None
    if recipe.average:
        averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(recipe.average))
    network, optimiser = fabric.setup(model, optimiser)
    if averaged is not None:
        averaged = averaged.to(fabric.device)
    run = {"recipe": asdict(recipe), **(identity or {})}
    start, loss_seen, error_seen = 0, 0.0, 0.0

    if checkpoint is not None and checkpoint.exists():
        state = load_checkpoint(checkpoint, fabric.device)
        if state["run"] != run:
            different = [k for k in run if state["run"].get(k) != run[k]]
            raise CheckpointError(
                f"{checkpoint}: belongs to another run (it differs in {', '.join(different)}); "
                "choose another folder or remove it"
            )
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        schedule.load_state_dict(state["schedule"])
        if averaged is not None:
            averaged.load_state_dict(state["averaged"])
        torch.set_rng_state(state["rng"].cpu())
        if state["cuda_rng"]:
            torch.cuda.set_rng_state_all([s.cpu() for s in state["cuda_rng"]])
        start, loss_seen, error_seen = state["iteration"], state["loss"], state["error"]

    def save(iteration: int) -> None:
        if checkpoint is not None:
            state = {
                "run": run,
                "iteration": iteration,
                "loss": loss_seen,
                "error": error_seen,
                "model": model.state_dict(),
                "optimiser": optimiser.state_dict(),
                "schedule": schedule.state_dict(),
                "averaged": None if averaged is None else averaged.state_dict(),
                "rng": torch.get_rng_state(),
                "cuda_rng": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
            }
            save_checkpoint(checkpoint, state)

    end = recipe.iterations if stop_after is None else min(stop_after, recipe.iterations)
    with ExitStack() as stack:
        for watcher in watchers:
            stack.enter_context(watcher)
        network.train()
        for k in range(start, end):
            images, labels = batches(k)
            logits = network(images)
            loss = F.cross_entropy(logits, labels)
            fabric.backward(loss)
            if recipe.clip:
                fabric.clip_gradients(network, optimiser, max_norm=recipe.clip)
            optimiser.step()
            optimiser.zero_grad()
            schedule.step()
            if averaged is not None:
                averaged.update_parameters(model)
            error = 100 * float((logits.detach().argmax(1) != labels).float().mean())
            weight = 1.0 if k == 0 else max(SMOOTHING, 1 / (k + 1))
            loss_seen += weight * (float(loss.detach()) - loss_seen)
            error_seen += weight * (error - error_seen)
            for watcher in watchers:
                watcher.step(k + 1, loss_seen, error_seen)
            if (k + 1) % checkpoint_every == 0 or k + 1 == end:
                save(k + 1)
    return Fitted(model if averaged is None else averaged.module, loss_seen)
