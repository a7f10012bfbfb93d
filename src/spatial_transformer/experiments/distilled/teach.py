"""What a network that learns from others minimises."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spatial_transformer.errors import OptionError
from spatial_transformer.training.loop import Objective


def distillation(teachers: Sequence[nn.Module], weight: float) -> Objective:
    """Cross entropy against ``weight`` parts of the teachers' mean probabilities, for the very
    images that the network is shown, and the rest of the true label; and the error in percent.

    Source: Hinton, Vinyals and Dean 2015 (at temperature 1); Furlanello et al. 2018 for teachers of
    the network's own kind and size.

    The teachers are set to evaluation, and get no gradients. Raises: OptionError.
    """
    if not teachers or not 0 < weight <= 1:
        raise OptionError(
            f"distillation takes one teacher or more and a weight in (0, 1], got {len(teachers)} "
            f"and {weight!r}"
        )
    teachers = [teacher.eval().requires_grad_(False) for teacher in teachers]

    def objective(network: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        images, labels = batch
        with torch.no_grad():
            taught = torch.stack([t(images).float().softmax(1) for t in teachers]).mean(0)
        logits = network(images)
        target = weight * taught + (1 - weight) * F.one_hot(labels, taught.shape[1])
        wrong = (logits.detach().argmax(1) != labels).float().mean()
        return F.cross_entropy(logits, target), 100 * wrong

    return objective
