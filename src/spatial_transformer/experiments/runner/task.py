"""The interface of tasks: objective, measure and captions.

A data set names its task; runs and pictures use it.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from spatial_transformer.errors import OptionError
from spatial_transformer.experiments.data.dataset import Batch, Dataset
from spatial_transformer.experiments.data.stream import Digits, generator
from spatial_transformer.experiments.training.loop import Objective, evaluate
from spatial_transformer.experiments.training.progress import EvalResult
from spatial_transformer.modules.predict import Prediction
from spatial_transformer.modules.spatial_transformer import SpatialTransformer


@dataclass(frozen=True)
class Mistakes:
    """The wrong ones of a block of images, the worst first, and how a title describes them."""

    indices: Tensor
    title: str


class Task(ABC):
    """The base class of tasks; its methods are for ``run`` and ``Pictures``."""

    #: the parts of a data set that a run is measured on; the last is the one it reports
    parts: Sequence[str] = ("validation", "test")
    #: what the training error is, in plots
    error_label = "training error, %"
    #: after the title of a sheet, what stands below its images
    caption_note = ""
    #: whether the images measured on are those of the run's own seed
    measures_own_images = False

    @abstractmethod
    def check(self, model: nn.Module, dataset: Dataset, start: bool) -> None:
        """Check that ``model`` can be trained on ``dataset``, from another run if ``start``.

        Raises:
            OptionError: If it cannot.
        """

    @abstractmethod
    def objective(self, start: nn.Module | None) -> Objective | None:
        """The objective, None for ``fit``'s; ``start`` is the network that this run starts from."""

    @abstractmethod
    def evaluate(
        self, model: nn.Module, dataset: Dataset, part: str, *, seed: int, **where: Any
    ) -> EvalResult:
        """Measure a network on a part of a data set, drawn with a seed."""

    @abstractmethod
    def examples(self, batch: Batch, count: int, seed: int) -> Batch:
        """The test images that a sheet shows."""

    @abstractmethod
    def captions(self, prediction: Prediction, model: nn.Module, batch: Batch) -> dict[str, Any]:
        """The captions and boxes of ``draw_sheet`` for the images of a batch."""

    def spell(self, classes: Tensor) -> list[Any]:
        """Classes as captions have them, nested as they are."""
        spelt: list[Any] = classes.tolist()
        return spelt

    @abstractmethod
    def frame_captions(self, classes: Tensor | None, truth: Tensor) -> dict[str, Any]:
        """The captions and boxes of ``film_frames``.

        ``classes`` ``(frames, images)`` are the network's predictions; of sequences there is one
        more dimension.
        """

    @abstractmethod
    def frame_title(self, step: int, error_percent: float) -> str:
        """The title of a frame of a training film, with a fixed number of lines."""

    def mistakes(self, model: nn.Module, batch: Batch) -> Mistakes | None:
        """The wrong ones of all test images in one block; None: a survey of blocks finds them."""
        return None

    def survey_batch(self, batch: Batch, dataset: Dataset) -> Batch:
        """Images and their classes."""
        return batch

    def movable(self, digits: Digits, order: Tensor, dataset: Dataset) -> Tensor:
        """The positions in ``order`` whose digits may be in a film of moving digits."""
        return order


class Classification(Task):
    """Cross entropy; the error is the fraction of misclassified images."""

    def check(self, model: nn.Module, dataset: Dataset, start: bool) -> None:
        """Any network but a bare spatial transformer; see ``Task.check``."""
        if isinstance(model, SpatialTransformer):
            raise OptionError(
                f"a {type(model).__name__} is no classifier: the experiment colocalisation trains "
                "and measures it"
            )

    def objective(self, start: nn.Module | None) -> Objective | None:
        """None, for that of ``fit``."""
        return None

    def evaluate(
        self, model: nn.Module, dataset: Dataset, part: str, *, seed: int, **where: Any
    ) -> EvalResult:
        """Loss and errors of a classifier; see ``Task.evaluate``."""
        return evaluate(model, dataset.fixed(part, seed=seed, **where))

    def examples(self, batch: Batch, count: int, seed: int) -> Batch:
        """See ``Task.examples``."""
        images, truth = batch
        source = generator("cpu", seed, "show")
        order = torch.randperm(len(truth), generator=source)[:count].to(truth.device)
        return images[order], truth[order]

    def captions(self, prediction: Prediction, model: nn.Module, batch: Batch) -> dict[str, Any]:
        """Predictions, confidences and truth; see ``Task.captions``."""
        assert prediction.scores is not None
        predicted = prediction.scores.argmax(-1)
        return {"predicted": self.spell(predicted), "truth": self.spell(batch[1])}

    def frame_captions(self, classes: Tensor | None, truth: Tensor) -> dict[str, Any]:
        """Predictions and truth; see ``Task.frame_captions``."""
        assert classes is not None
        return {"predicted": self.spell(classes), "truth": self.spell(truth)}

    def frame_title(self, step: int, error_percent: float) -> str:
        """See ``Task.frame_title``."""
        error = f"{error_percent:.1f}" if step else "-"
        return f"step\xa0{step:,}\nerror\xa0{error}\xa0%"  # no-break spaces: whole lines
