"""The history of a run's training: curves, and predictions for a few fixed images."""

from typing import Any

import torch
from torch import Tensor, nn

from spatial_transformer.errors import ShapeError
from spatial_transformer.modules.predict import predict

#: moments that are kept of a run
MOMENTS = 200


def kept_steps(iterations: int, moments: int = MOMENTS) -> list[int]:
    """The steps after which the history is recorded, from 0 to the last, denser at the start.

    Examples:
        >>> kept_steps(100, 5)
        [0, 6, 25, 56, 100]
    """
    last = max(1, moments - 1)
    return sorted({round(iterations * (k / last) ** 2) for k in range(moments)})


class History:
    """Step, training loss and error (smoothed), learning rates and predictions through a run.

    Predictions are theta and class for a few ``images`` ``(B, C, *spatial)``. It is a part of the
    checkpoint: a resumed run has the history of one that never stopped. It uses the network that is
    trained, not its average.

    Examples:
        >>> history = History(torch.zeros(2, 1, 8, 8), iterations=10)
        >>> history.see(0, nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), [0.1], 0.0, 0.0)
        >>> history.series("step").tolist(), history.series("classes").shape
        ([0.0], torch.Size([1, 2]))
    """

    def __init__(self, images: Tensor, iterations: int) -> None:
        if images.dim() < 4 or not len(images):
            raise ShapeError(f"images must be (B, C, *spatial), got {tuple(images.shape)}")
        self.images = images
        self.steps = frozenset(kept_steps(iterations))
        self._moments: dict[str, list[Tensor]] = {}

    def wants(self, step: int) -> bool:
        """Whether to record after ``step`` steps."""
        return step in self.steps

    def see(
        self, step: int, model: nn.Module, rates: list[float], loss: float, error_percent: float
    ) -> None:
        """Record a moment; ``rates`` are the learning rates of the optimiser's groups."""
        prediction = predict(model, self.images)
        moment = {
            "step": torch.tensor(float(step)),
            "loss": torch.tensor(loss),
            "error_percent": torch.tensor(error_percent),
            "rates": torch.tensor(rates),
        }
        if prediction.theta is not None:
            moment["theta"] = prediction.theta.cpu()
        if prediction.scores is not None:
            moment["classes"] = prediction.scores.argmax(-1).cpu()
        for name, value in moment.items():
            self._moments.setdefault(name, []).append(value)

    def __len__(self) -> int:
        """How many moments are recorded."""
        return len(self._moments.get("step", []))

    def has(self, name: str) -> bool:
        """Whether there is a series of that name."""
        return name in self._moments

    def series(self, name: str) -> Tensor:
        """A series with one entry a moment.

        "step", "loss", "error_percent" ``(M,)``, "rates" ``(M, groups)``, "theta" ``(M, B, N, P)``
        or "classes" ``(M, B)``, ``(M, B, T)`` for sequences.
        """
        return torch.stack(self._moments[name])

    def state(self) -> dict[str, Any]:
        """The state for a checkpoint: tensors."""
        return {name: torch.stack(values) for name, values in self._moments.items()}

    def load(self, state: dict[str, Any] | None) -> None:
        """Resume from a checkpoint's state; None, of a run without a history, leaves it empty."""
        self._moments = {n: list(values.cpu().unbind()) for n, values in (state or {}).items()}
