"""What a run keeps of its training: curves, and what the network makes of a few fixed images."""

from typing import Any

import torch
from torch import Tensor, nn

from spatial_transformer.errors import ShapeError
from spatial_transformer.modules.predict import predict

#: moments that are kept of a run
MOMENTS = 200


def kept_steps(iterations: int, moments: int = MOMENTS) -> list[int]:
    """The steps after which a moment is kept: from 0 to the last, closer together at the start,
    where most is learnt.

    >>> kept_steps(100, 5)
    [0, 6, 25, 56, 100]
    """
    last = max(1, moments - 1)
    return sorted({round(iterations * (k / last) ** 2) for k in range(moments)})


class History:
    """Moments of a run: step, smoothed training loss and error, learning rates, and of a few
    ``images`` ``(B, C, *spatial)`` the theta and the scores' class.

    It is a part of the checkpoint: a run that goes on has the history of one that never stopped.
    It looks at the network that is trained, not at its average.

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
        """Whether the moment after ``step`` steps is one to keep."""
        return step in self.steps

    def see(
        self, step: int, model: nn.Module, rates: list[float], loss: float, error_percent: float
    ) -> None:
        """Keep a moment; ``rates`` are the learning rates of the optimiser's groups."""
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
            moment["classes"] = prediction.scores.argmax(1).cpu()
        for name, value in moment.items():
            self._moments.setdefault(name, []).append(value)

    def __len__(self) -> int:
        """How many moments are kept."""
        return len(self._moments.get("step", []))

    def has(self, name: str) -> bool:
        return name in self._moments

    def series(self, name: str) -> Tensor:
        """One entry a moment: "step", "loss", "error_percent" ``(M,)``, "rates" ``(M, groups)``,
        "theta" ``(M, B, N, P)``, "classes" ``(M, B)``."""
        return torch.stack(self._moments[name])

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds of it: tensors."""
        return {name: torch.stack(values) for name, values in self._moments.items()}

    def load(self, state: dict[str, Any] | None) -> None:
        """Go on from a checkpoint's state; None, from a run that kept none, leaves it empty."""
        self._moments = {n: list(values.cpu().unbind()) for n, values in (state or {}).items()}
