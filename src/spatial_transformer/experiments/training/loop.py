"""The training loop: batches in, a trained model and its errors out."""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from spatial_transformer.errors import CheckpointError, OptionError
from spatial_transformer.evaluating import evaluating
from spatial_transformer.experiments.training.checkpoint import (
    check_finite,
    load_checkpoint,
    save_checkpoint,
)
from spatial_transformer.experiments.training.divergence import DivergenceGuard
from spatial_transformer.experiments.training.history import History
from spatial_transformer.experiments.training.interrupt import Interrupted, StopRequest
from spatial_transformer.experiments.training.progress import Callback, EvalResult, ModelCallback
from spatial_transformer.experiments.training.recipe import Recipe
from spatial_transformer.options import check_count

if TYPE_CHECKING:  # which takes a second
    from lightning_fabric import Fabric

#: how much a step counts in the smoothed loss and error that are shown
SMOOTHING = 0.05

#: k -> the k-th batch, as tensors
Batches = Callable[[int], tuple[Tensor, Tensor]]
#: (network, one batch) -> the loss, and the error in percent
Objective = Callable[[nn.Module, tuple[Tensor, Tensor]], tuple[Tensor, Tensor]]


def classification(label_smoothing: float) -> Objective:
    """Cross entropy and error in percent of images and labels, ``(B,)`` or sequences ``(B, T)``.

    Logits are ``(B, classes)`` or ``(B, T, classes)``; both are means over all labels.
    """

    def objective(network: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        images, labels = batch
        logits = network(images)
        wrong = (logits.detach().argmax(-1) != labels).float().mean()
        flat = logits.flatten(0, -2), labels.flatten()
        return F.cross_entropy(*flat, label_smoothing=label_smoothing), 100 * wrong

    return objective


@dataclass(frozen=True)
class FitResult:
    """A trained model, averaged if the recipe averages, its smoothed loss, time and precision.

    The time is in seconds, over all parts of a resumed run.
    """

    model: nn.Module
    train_loss: float
    seconds: float
    precision: str


@torch.no_grad()
def evaluate(model: nn.Module, blocks: Iterable[tuple[Tensor, Tensor]]) -> EvalResult:
    """Measure a classifier on blocks of images ``(B, C, H, W)`` and labels.

    Labels are ``(B,)``, or sequences ``(B, T)`` with logits ``(B, T, classes)``.
    """
    loss, mistakes, count, length = 0.0, [], 0, 1
    wrong_of: Counter[int] = Counter()
    labels_of: Counter[int] = Counter()
    with evaluating(model):
        for images, labels in blocks:
            logits = model(images).float()
            length = labels[0].numel()
            logits, labels = logits.flatten(0, -2), labels.flatten()
            loss += float(F.cross_entropy(logits, labels, reduction="sum"))
            wrong = (logits.argmax(1) != labels).nonzero().flatten()
            mistakes += (count + wrong).tolist()
            count += len(labels)
            wrong_of.update(labels[wrong].tolist())
            labels_of.update(labels.tolist())
    by_class = {k: (wrong_of[k], labels_of[k]) for k in sorted(labels_of)}
    return EvalResult(loss / count, mistakes, count // length, length, by_class)


def describe_run(recipe: Recipe, identity: dict[str, Any]) -> dict[str, Any]:
    """What a checkpoint records about its run."""
    return {"recipe": asdict(recipe), **identity}


def _compile(model: nn.Module, device: torch.device) -> nn.Module:
    """The same network with compiled steps: CUDA graphs on a GPU, where launches take longest."""
    mode = "reduce-overhead" if device.type == "cuda" else "default"
    compiled: nn.Module = torch.compile(model, mode=mode)  # type: ignore[assignment]
    return compiled


@contextmanager
def reproducible(device: torch.device) -> Iterator[None]:
    """Use deterministic operations on a GPU; torch warns where it has none. A CPU's always are."""
    if device.type != "cuda":
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # torch asks for it
    before = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warn_only)


def fit(
    fabric: "Fabric",
    model: nn.Module,
    batches: Batches,
    recipe: Recipe,
    *,
    objective: Objective | None = None,
    checkpoint: Path | None = None,
    checkpoint_every: int = 500,
    identity: dict[str, Any] | None = None,
    callbacks: Sequence[Callback] = (),
    history: History | None = None,
    stop_after: int | None = None,
    compiled: bool = False,
) -> FitResult:
    """Train ``model`` for ``recipe.iterations`` steps of ``objective`` on ``batches(k)``.

    If ``checkpoint`` exists, training resumes from it exactly as if it had not stopped: weights,
    optimiser, schedule, average and torch's generator are restored, and batch k depends on k alone.

    A model in training mode is trained with its submodules each in its own mode, such as batch
    norms in evaluation mode. One in evaluation mode is put into training mode.

    A step whose loss, gradients or weights are not finite ends the run; its last checkpoint is
    unchanged.

    Args:
        fabric: Lightning Fabric, with device and precision.
        model: The network.
        batches: k -> the k-th batch.
        recipe: The training options.
        objective: (network, batch) -> loss and error in percent; classification if None.
        checkpoint: The checkpoint's path; None for none.
        checkpoint_every: Steps between two checkpoints.
        identity: Describes the run in the checkpoint; another run's checkpoint is refused.
        callbacks: Called at every step.
        history: Records moments of the run, here and in the checkpoint.
        stop_after: Stop at this iteration with a checkpoint, as a kill would.
        compiled: Run the network through ``torch.compile``, on a GPU as CUDA graphs; sums are
            rounded differently, and dropout draws other numbers.

    Raises:
        CheckpointError: If the checkpoint is broken or another run's.
        DivergenceError: If it diverges; the message names step, batch and parameter.
        OptionError: If labels are smoothed with another objective.
    """
    check_count("checkpoint_every", checkpoint_every)
    if stop_after is not None:
        check_count("stop_after", stop_after)
    if objective is None:
        objective = classification(recipe.label_smoothing)
    elif recipe.label_smoothing:
        raise OptionError("label_smoothing is of classification: this objective has no labels")
    if recipe.channels_last:
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser, schedule = recipe.build(model)
    averaged = None
    if recipe.average:
        averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(recipe.average))
    network = _compile(model, fabric.device) if compiled else model
    network, optimiser = fabric.setup(network, optimiser)
    if averaged is not None:
        averaged = averaged.to(fabric.device)
        averaged.n_averaged = averaged.n_averaged.cpu()  # read at every step
    on_gpu = fabric.device.type == "cuda"
    guard = DivergenceGuard(model, batches)
    scaler = getattr(fabric.strategy.precision, "scaler", None)
    run = describe_run(recipe, identity or {})
    start, loss_seen, error_seen = 0, 0.0, 0.0
    precision = str(fabric.strategy.precision.precision)
    began = time.perf_counter()

    if checkpoint is not None and checkpoint.exists():
        # on the CPU: each consumer copies its part to its own device
        state = load_checkpoint(checkpoint)
        if state["run"] != run:
            different = [k for k in run if state["run"].get(k) != run[k]]
            raise CheckpointError(
                f"{checkpoint}: belongs to another run (it differs in {', '.join(different)}); "
                "choose another folder or remove it"
            )
        check_finite(checkpoint, state, guard.constant)
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        schedule.load_state_dict(state["schedule"])
        if averaged is not None:
            averaged.load_state_dict(state["averaged"])
        torch.set_rng_state(state["rng"])
        # checkpoints of a CPU, and older ones, have none
        if on_gpu and (gpu_rng := state.get("gpu_rng")) is not None:
            torch.cuda.set_rng_state(gpu_rng, fabric.device)
        if history is not None:
            history.load(state.get("history"))
        start, loss_seen, error_seen = state["iteration"], state["loss"], state["error"]
        began -= state["seconds"]
        before = state.get("precision", recipe.precision)  # which older checkpoints do not tell
        if before.split(" ")[-1] != precision:  # gone on with on another processor
            precision = f"{before}, from step {start} on {precision}"
        else:
            precision = before
        guard.kept = f"The checkpoint of step {start} is whole: {checkpoint}"

    def save(iteration: int) -> None:
        guard.check_update(iteration)
        if checkpoint is not None:
            state = {
                "run": run,
                "iteration": iteration,
                "loss": loss_seen,
                "error": error_seen,
                "precision": precision,
                "seconds": time.perf_counter() - began,
                "model": model.state_dict(),
                "optimiser": optimiser.state_dict(),
                "schedule": schedule.state_dict(),
                "averaged": None if averaged is None else averaged.state_dict(),
                "history": None if history is None else history.state(),
                "rng": torch.get_rng_state(),
                "gpu_rng": torch.cuda.get_rng_state(fabric.device) if on_gpu else None,
            }
            save_checkpoint(checkpoint, state)
            guard.kept = f"The checkpoint of step {iteration} is whole: {checkpoint}"

    def keep(iteration: int) -> None:
        if history is not None and history.wants(iteration):
            rates = [float(rate) for rate in schedule.get_last_lr()]
            history.see(iteration, model, rates, loss_seen, error_seen)

    end = recipe.iterations if stop_after is None else min(stop_after, recipe.iterations)
    with ExitStack() as stack:
        stack.enter_context(reproducible(fabric.device))
        for callback in callbacks:
            stack.enter_context(callback)
        if compiled:
            # what it keeps, such as bases, a graph would make at every step
            with torch.no_grad(), evaluating(model):
                model(batches(start)[0])
        if not model.training:
            network.train()
        if start == 0:
            keep(0)
        stop = stack.enter_context(StopRequest())
        for k in range(start, end):
            batch = batches(k)
            if compiled:
                torch.compiler.cudagraph_mark_step_begin()
            loss, error = objective(network, batch)
            fabric.backward(loss)
            loss_now, error_now = guard.check_step(k, loss, error, scaler)
            if recipe.clip:
                fabric.clip_gradients(
                    network, optimiser, max_norm=recipe.clip, error_if_nonfinite=False
                )
            optimiser.step()
            optimiser.zero_grad()
            schedule.step()
            if averaged is not None:
                averaged.update_parameters(model)
            weight = 1.0 if k == 0 else max(SMOOTHING, 1 / (k + 1))
            loss_seen += weight * (loss_now - loss_seen)
            error_seen += weight * (error_now - error_seen)
            keep(k + 1)
            for callback in callbacks:
                callback.step(k + 1, loss_seen, error_seen)
                if isinstance(callback, ModelCallback):
                    callback.see(k + 1, model, batch[0])
            if (k + 1) % checkpoint_every == 0 or k + 1 == end or stop.requested:
                save(k + 1)
            if stop.requested:
                raise Interrupted(
                    f"stopped after step {k + 1} of {recipe.iterations}"
                    + (", which is saved: the same command goes on from it" if checkpoint else "")
                )
    best = model if averaged is None else averaged.module
    return FitResult(best, loss_seen, time.perf_counter() - began, precision)
