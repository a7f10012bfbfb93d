"""A guard that stops a run whose loss, gradients or weights are NaN or infinite."""

import math
from collections.abc import Callable
from typing import NoReturn

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from spatial_transformer.errors import DivergenceError
from spatial_transformer.finite import not_finite, summary

#: how many images of a batch are named
MOST_NAMED = 8


class DivergenceGuard:
    """Check every step of a run, and stop it at the first that is not finite.

    The loss alone does not show it: a theta of NaN samples outside, so a localisation network whose
    weights are NaN gives a finite loss and gradients of zero forever.

    Args:
        model: Its parameters must be finite. None of its buffers may hold NaN; those that are
            infinite from the start, such as masks, are ignored.
        batches: k -> the k-th batch, to describe it.

    Raises:
        DivergenceError: If the model is not finite from the start.
    """

    def __init__(self, model: nn.Module, batches: Callable[[int], tuple[Tensor, ...]]) -> None:
        self.model, self.batches = model, batches
        #: where the run can go on from, in words
        self.kept = "There is no checkpoint."
        self.parameters = dict(model.named_parameters())
        infinite = {n: b for n, b in model.named_buffers() if not_finite(b)}
        self.constant = frozenset(n for n, b in infinite.items() if not bool(b.isnan().any()))
        if names := not_finite(self.parameters | self._buffers()):
            raise DivergenceError(f"not finite before the first step: {summary(names)}")

    def _buffers(self) -> dict[str, Tensor]:
        named = self.model.named_buffers()  # a forward pass may replace buffers
        return {n: b for n, b in named if b.is_floating_point() and n not in self.constant}

    def _gradients(self) -> dict[str, Tensor]:
        return {n: p.grad for n, p in self.parameters.items() if p.grad is not None}

    def check_step(
        self, k: int, loss: Tensor, error: Tensor, scaler: torch.amp.GradScaler | None = None
    ) -> tuple[float, float]:
        """Loss and error of batch ``k`` as numbers, before the optimiser uses its gradients.

        One norm of everything is computed on the device, which is synchronised when the loss is
        read.

        Args:
            k: Index of the batch.
            loss: The loss, on the device.
            error: The error in percent, on the device.
            scaler: The scale of the gradients, if they have one. It skips steps whose gradients
                overflow by its scale, and lowers that.

        Raises:
            DivergenceError: If loss or gradients are not finite.
        """
        parts = (self._gradients(), self.parameters, self._buffers())
        with torch.no_grad():
            norm = get_total_norm([tensor for part in parts for tensor in part.values()])
            value, finite = torch.stack(
                [loss.detach().reshape(()), norm.isfinite().to(loss)]
            ).tolist()
        numbers = {"loss": value, "error": float(error)}
        faults = [f"the {n} is {x}" for n, x in numbers.items() if not math.isfinite(x)]
        if not finite:
            self.check_update(k)
            if not (scaler is not None and scaler.get_scale() > 1):
                faults += self._gradient_faults()
            if names := not_finite(self._buffers()):
                faults.append(f"the buffer {summary(names)} is not finite")
        if faults:
            self._stop(k, ", ".join(faults))
        return numbers["loss"], numbers["error"]

    def check_update(self, step: int) -> None:
        """Check the parameters after ``step`` steps.

        Raises:
            DivergenceError: If they are not finite.
        """
        if names := not_finite(self.parameters):
            self._stop(step - 1, f"its update made {summary(names)} not finite")

    def _gradient_faults(self) -> list[str]:
        gradients = self._gradients()
        if names := not_finite(gradients):
            return [f"the gradient of {summary(names)} is not finite"]
        if not get_total_norm(gradients.values()).isfinite():  # optimisers compute squares as well
            return [f"the squares of the gradients of {summary(list(gradients))} overflow"]
        return []

    def _stop(self, k: int, what: str) -> NoReturn:
        for parameter in self.parameters.values():
            parameter.grad = None  # further training would add to it
        batch = describe_batch(k, self.batches(k))
        raise DivergenceError(f"step {k + 1}: {what}. {batch} {self.kept}")


def describe_batch(k: int, batch: tuple[Tensor, ...]) -> str:
    """Which entries of a batch are not finite, in a sentence.

    Examples:
        >>> describe_batch(3, (torch.tensor([[0.0], [torch.nan]]), torch.tensor([0, 1])))
        'Batch 3 holds NaN or infinite pixels in images 1.'
    """
    for kind, values in zip(("pixels in images", "numbers in targets"), batch, strict=False):
        places = (~values.isfinite()).nonzero()[:, 0].unique().tolist()
        if places:
            names = ", ".join(map(str, places[:MOST_NAMED]))
            more = ", ..." if len(places) > MOST_NAMED else ""
            return f"Batch {k} holds NaN or infinite {kind} {names}{more}."
    return f"Batch {k} is finite: a lower lr, or gradients bounded by clip, may help."
