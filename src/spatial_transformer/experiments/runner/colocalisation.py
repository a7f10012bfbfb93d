"""The co-localisation task: its loss and its measure."""

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from spatial_transformer.errors import DataError, OptionError
from spatial_transformer.experiments.data.colocalisation import Colocalisation
from spatial_transformer.experiments.data.dataset import Batch, Dataset
from spatial_transformer.experiments.data.stream import Digits
from spatial_transformer.experiments.models.locator import Locator
from spatial_transformer.experiments.runner.task import Mistakes, Task
from spatial_transformer.experiments.training.loop import Objective
from spatial_transformer.experiments.training.progress import EvalResult
from spatial_transformer.functional import warp
from spatial_transformer.modules.predict import Prediction, predict
from spatial_transformer.modules.spatial_transformer import SpatialTransformer
from spatial_transformer.transforms import Transform

#: the hinge loss's alpha. The paper says 1, of features whose scale it does not say; ours lie some
#: 30 to 60 apart, and with a margin of 1 empty crops are as good as digits.
MARGIN = 4_000.0
#: weight of the distance between two crops. At 1, the paper's, crops that are off their digits in
#: different ways are worse than empty ones, and no path leads from there to the digits.
NEAR = 0.3
#: a digit is found where the overlap is greater
OVERLAP = 0.5


def features(classifier: nn.Module, crops: Tensor) -> Tensor:
    """The concatenated activations of a CNN's three layers: ``(B, C, H, W)`` -> ``(B, F)``.

    They are the two hidden ones, after rectifier and pool, and the scores.
    """
    activations = []
    value = crops
    for layer in classifier.children():
        value = layer(value)
        if isinstance(layer, nn.ReLU | nn.Linear):
            activations.append(value.flatten(1))
    return torch.cat(activations, dim=1)


def triplet(classifier: nn.Module, margin: float = MARGIN, weight: float = NEAR) -> Objective:
    """The hinge loss of appendix A.2, which pulls crops of two images together in feature space.

    They must be nearer to each other than to a random crop, by the margin:

        max(0, weight * |e(a) - e(b)|^2 - |e(a) - e(random)|^2 + margin)

    The loss is the mean over all triplets of a batch: every two images with every random crop. The
    second result of the objective is the percentage of triplets that violate it.
    """
    classifier = copy.deepcopy(classifier).eval().requires_grad_(False)

    def objective(network: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        images, theta = batch
        if len(images) < 2:
            raise OptionError("a triplet takes two images: batch_size must be 2 or more")
        crops = network(images)
        random = warp(images, theta, "attention", crops.shape[-2:])
        own, others = (features(classifier, x).float() for x in (crops, random))
        near = torch.cdist(own, own).square()
        far = torch.cdist(own, others).square()
        hinge = F.relu(weight * near[:, :, None] - far[:, None, :] + margin)
        hinge = hinge[~torch.eye(len(images), dtype=torch.bool, device=hinge.device)]
        return hinge.mean(), 100 * (hinge.detach() > 0).float().mean()

    return objective


def boxes(transform: Transform, theta: Tensor, size: int) -> Tensor:
    """The box in the image that an attention ``theta`` samples.

    Args:
        transform: The attention transform.
        theta: ``(B, P)``.
        size: Side of the image, in pixels.

    Returns:
        Left, top, right and bottom edge in pixels, ``(B, 4)``.
    """
    matrix = transform.matrix(theta)
    half = matrix[:, 0, :1].abs() * size / 2
    centre = (matrix[:, :, 2] + 1) * size / 2
    return torch.cat([centre - half, centre + half], dim=1)


def overlap(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of boxes, ``(B, 4)`` each -> ``(B,)``.

    Examples:
        >>> overlap(torch.tensor([[0.0, 0, 2, 2]]), torch.tensor([[1.0, 0, 3, 2]]))
        tensor([0.3333])
    """
    sides = torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])
    both = sides.clamp_min(0).prod(1)
    areas = [(box[:, 2:] - box[:, :2]).prod(1) for box in (a, b)]
    return both / (areas[0] + areas[1] - both)


class Colocalise(Task):
    """A locator finds what a set of images has in common, without labels.

    Note:
        Source: the paper's appendix A.2.
    """

    parts = ("test",)
    error_label = "triplets not fulfilled, %"
    caption_note = " (below: overlap)"
    measures_own_images = True

    def check(self, model: nn.Module, dataset: Dataset, start: bool) -> None:
        """Only locators that start from a CNN's run; see ``Task.check``."""
        if not isinstance(model, Locator):
            raise OptionError(
                f"{dataset.name!r} has no labels: the experiment colocalisation trains a locator "
                f"on it, not a {type(model).__name__}"
            )
        if not start:
            raise OptionError(
                "co-localisation compares features: the run has to start from that of a CNN, as "
                "those of the experiment colocalisation do"
            )

    def objective(self, start: nn.Module | None) -> Objective:
        """The triplet loss on the features of the network ``start``."""
        assert start is not None
        return triplet(start)

    def evaluate(
        self, model: nn.Module, dataset: Dataset, part: str, *, seed: int, **where: Any
    ) -> EvalResult:
        """The overlaps of a locator's crops with the true boxes; see ``Task.evaluate``."""
        batch = next(dataset.fixed(part, seed=seed, **where))
        missed = (self.overlaps(model, batch) <= OVERLAP).nonzero().flatten().tolist()
        return EvalResult(None, missed, len(batch[0]))

    def overlaps(self, model: nn.Module, batch: Batch) -> Tensor:
        """The overlap of a locator's crops with the true boxes, ``(B,)``.

        Raises:
            OptionError: If the network is not a locator.
        """
        if not isinstance(model, SpatialTransformer):
            raise OptionError(f"a locator is a SpatialTransformer, not {type(model).__name__}")
        images, truth = batch
        theta = predict(model, images).theta
        assert theta is not None
        return overlap(boxes(model.transform, theta[:, 0], images.shape[-1]), truth)

    def examples(self, batch: Batch, count: int, seed: int) -> Batch:
        """See ``Task.examples``."""
        images, truth = batch
        return images[:count], truth[:count]

    def captions(self, prediction: Prediction, model: nn.Module, batch: Batch) -> dict[str, Any]:
        """Overlaps as captions, and the true boxes; see ``Task.captions``."""
        overlaps = self.overlaps(model, batch).tolist()
        return {"captions": [f"{value:.2f}" for value in overlaps], "boxes": batch[1]}

    def frame_captions(self, classes: Tensor | None, truth: Tensor) -> dict[str, Any]:
        """The true boxes; see ``Task.frame_captions``."""
        return {"boxes": truth}

    def frame_title(self, step: int, error_percent: float) -> str:
        """See ``Task.frame_title``."""
        return f"step\xa0{step:,}"

    def mistakes(self, model: nn.Module, batch: Batch) -> Mistakes:
        """The images whose digit is not found; see ``Task.mistakes``."""
        overlaps = self.overlaps(model, batch)
        missed = torch.where(overlaps <= OVERLAP)[0]
        if not len(missed):
            raise DataError(f"no mistakes to show: all of {len(overlaps)} digits are found")
        title = f"{len(missed)} of {len(overlaps)} not found, the furthest off first"
        return Mistakes(missed[overlaps[missed].argsort()], title)

    def survey_batch(self, batch: Batch, dataset: Dataset) -> Batch:
        """See ``Task.survey_batch``."""
        assert isinstance(dataset, Colocalisation)
        images, _ = batch
        return images, torch.full((len(images),), dataset.digit)

    def movable(self, digits: Digits, order: Tensor, dataset: Dataset) -> Tensor:
        """See ``Task.movable``."""
        assert isinstance(dataset, Colocalisation)
        return order[digits.labels[order] == dataset.digit]
