"""What a network is trained to do: its objective, its measure, and what its pictures say.

A data set names its task; runs and pictures do for every task what it says.
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
    """Which of a block of images are wrong, the worst first, and how a title says so."""

    indices: Tensor
    title: str


class Task(ABC):
    """The base class; its methods are for ``run`` and ``Pictures``."""

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
        """Raises: OptionError where ``model`` cannot be trained on ``dataset``; ``start`` says
        whether the run starts from another."""

    @abstractmethod
    def objective(self, start: nn.Module | None) -> Objective | None:
        """What is minimised, None: as ``fit`` has it; ``start`` is the network of the run that
        this one starts from."""

    @abstractmethod
    def evaluate(
        self, model: nn.Module, dataset: Dataset, part: str, *, seed: int, **where: Any
    ) -> EvalResult:
        """Measure a network on the images of a part of a data set, of a seed."""

    @abstractmethod
    def examples(self, batch: Batch, count: int, seed: int) -> Batch:
        """Those of the test images that a sheet shows."""

    @abstractmethod
    def captions(self, prediction: Prediction, model: nn.Module, batch: Batch) -> dict[str, Any]:
        """What ``draw_sheet`` writes and draws at the images of a batch."""

    @abstractmethod
    def frame_captions(self, classes: Tensor | None, truth: Tensor) -> dict[str, Any]:
        """What ``film_frames`` writes and draws; ``classes`` ``(frames, images)`` are those
        that the network said."""

    @abstractmethod
    def frame_title(self, step: int, error_percent: float) -> str:
        """The title of a frame of a training film: as many lines in each."""

    def mistakes(self, model: nn.Module, batch: Batch) -> Mistakes | None:
        """The wrong ones of all test images in one block; None: a survey of blocks finds them."""
        return None

    def survey_batch(self, batch: Batch, dataset: Dataset) -> Batch:
        """Images and their classes."""
        return batch

    def movable(self, digits: Digits, order: Tensor, dataset: Dataset) -> Tensor:
        """Those of the places in ``order`` whose digits a film of moving digits may have."""
        return order


class Classification(Task):
    """Cross entropy; the error is the share of images that are given another class than theirs."""

    def check(self, model: nn.Module, dataset: Dataset, start: bool) -> None:
        if isinstance(model, SpatialTransformer):
            raise OptionError(
                f"a {type(model).__name__} is no classifier: the experiment colocalisation trains "
                "and measures it"
            )

    def objective(self, start: nn.Module | None) -> Objective | None:
        return None

    def evaluate(
        self, model: nn.Module, dataset: Dataset, part: str, *, seed: int, **where: Any
    ) -> EvalResult:
        return evaluate(model, dataset.fixed(part, seed=seed, **where))

    def examples(self, batch: Batch, count: int, seed: int) -> Batch:
        images, truth = batch
        source = generator("cpu", seed, "show")
        order = torch.randperm(len(truth), generator=source)[:count].to(truth.device)
        return images[order], truth[order]

    def captions(self, prediction: Prediction, model: nn.Module, batch: Batch) -> dict[str, Any]:
        assert prediction.scores is not None
        return {"predicted": prediction.scores.argmax(1).tolist(), "truth": batch[1].tolist()}

    def frame_captions(self, classes: Tensor | None, truth: Tensor) -> dict[str, Any]:
        assert classes is not None
        return {"predicted": classes.tolist(), "truth": truth.tolist()}

    def frame_title(self, step: int, error_percent: float) -> str:
        error = f"{error_percent:.1f}" if step else "-"
        return f"step\xa0{step:,}\nerror\xa0{error}\xa0%"  # no-break spaces: whole lines
