"""The task of reading a sequence of labels in an image."""

from typing import Any

import torch
from torch import Tensor, nn

from spatial_transformer.errors import OptionError
from spatial_transformer.experiments.data.dataset import Dataset
from spatial_transformer.experiments.runner.task import Classification
from spatial_transformer.modules.predict import predict


class Sequences(Classification):
    """Cross entropy, averaged over the labels of a sequence; the error is of single labels.

    Args:
        blank: The class of places without a label, for sequences of different lengths; None where
            all have the same.
    """

    def __init__(self, blank: int | None = None) -> None:
        self.blank = blank

    def check(self, model: nn.Module, dataset: Dataset, start: bool) -> None:
        """Any network to logits ``(B, T, classes)``; see ``Task.check``."""
        super().check(model, dataset, start)
        device = next(model.parameters()).device
        scores = predict(model, torch.zeros(1, *dataset.in_shape, device=device)).scores
        expected = (1, dataset.length, dataset.classes)
        if scores is None or scores.shape != expected:
            raise OptionError(
                f"{dataset.name!r} has sequences of {dataset.length} labels: a network for it, "
                "such as those of the experiment recurrent, has scores for each of them, not "
                f"{scores if scores is None else tuple(scores.shape[1:])}"
            )

    def spell(self, classes: Tensor) -> list[Any]:
        """Sequences as text, without blanks: ``(B, T)`` to B texts; see ``Task.spell``.

        Examples:
            >>> Sequences(blank=10).spell(torch.tensor([[7, 3, 10], [10, 10, 10]]))
            ['73', '-']
        """
        if classes.dim() > 2:
            return [self.spell(one) for one in classes]
        read = [[str(k) for k in one if k != self.blank] for one in classes.tolist()]
        return ["".join(labels) or "-" for labels in read]
