"""Pictures and films of a trained run, for every experiment."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor, nn

from spatial_transformer.errors import OptionError
from spatial_transformer.experiments.data.catalogue import make_dataset
from spatial_transformer.experiments.data.dataset import FIXED_SEED, Batch, Dataset, load_digits
from spatial_transformer.experiments.data.motion import check_motion, move, moved_labels
from spatial_transformer.experiments.data.stream import generator
from spatial_transformer.experiments.runner.load import load_model
from spatial_transformer.experiments.runner.tasks import task_of
from spatial_transformer.functional import warp
from spatial_transformer.modules.predict import find_transformer, predict
from spatial_transformer.modules.spatial_transformer import SpatialTransformer
from spatial_transformer.registry import unknown
from spatial_transformer.viz.curves import draw_curves
from spatial_transformer.viz.motion import film_frames
from spatial_transformer.viz.sheet import draw_sheet
from spatial_transformer.viz.stages import draw_stages, find_stages
from spatial_transformer.viz.survey import Survey, draw_means, draw_mistakes, survey
from spatial_transformer.viz.theta import draw_theta, draw_theta_paths


@dataclass
class Pictures:
    """Draws a trained network.

    Args:
        model: The network, in eval mode.
        dataset: What it was trained on.
        name: The name of the run or of the weights.
        iteration: How many steps it was trained for, if known.
        history: The history of its training, if the run recorded one.
        trained_seed: The run's seed.
        count: Examples on a sheet; mistakes are three times as many, at most.
        seed: Selects the examples and their distortion.
    """

    model: nn.Module
    dataset: Dataset
    name: str
    iteration: int | None = None
    history: dict[str, Tensor] | None = None
    trained_seed: int = 0
    count: int = 10
    seed: int = 0
    data_root: Path | None = None
    device: torch.device | str = "cpu"

    def __post_init__(self) -> None:
        self.task = task_of(self.dataset)
        self.layer = find_transformer(self.model)
        self.transform = None if self.layer is None else self.layer.transform
        steps = "" if self.iteration is None else f", {self.iteration:,} steps"
        self.title = f"{self.name}{steps}"

    def draw(self, kind: str) -> Figure:
        """A picture of one of ``KINDS``.

        Raises:
            OptionError: If the kind is another, or the run has no data for it.
            DataError: If there are no mistakes.
        """
        if kind not in KINDS:
            raise OptionError(unknown("kind of picture", kind, KINDS))
        figure: Figure = KINDS[kind](self)
        return figure

    def sheet(self) -> Figure:
        """Test images, grids, outputs, predictions."""
        return self._draw_batch(self.task.examples(self._fixed(), self.count, self.seed), "")

    def stages(self) -> Figure:
        """Test images as each stage of a cascade leaves them, with the grids so far.

        Raises:
            OptionError: If the network has no cascade, or one of a single stage.
        """
        images, _ = self.task.examples(self._fixed(), self.count, self.seed)
        stages = find_stages(self._transformer(), images)
        if len(stages) < 2:
            raise OptionError(f"{self.name} has a transformer of one stage: its sheet shows it")
        return draw_stages(images, stages, title=self.title)

    def mistakes(self) -> Figure:
        """The misclassified test images, the most confident first."""
        images, truth = self._fixed()
        mistakes = self.task.mistakes(self.model, (images, truth))
        if mistakes is not None:
            worst = mistakes.indices[: 3 * self.count]
            return self._draw_batch((images[worst], truth[worst]), f": {mistakes.title}")
        result = self._survey
        return draw_mistakes(
            result,
            self.transform,
            title=f"{self.title}: {result.wrong} of {result.images:,} wrong, the surest first",
            spell=self.task.spell,
        )

    def means(self) -> Figure:
        """The mean image of each class before and after the transformer."""
        return draw_means(self._survey, title=f"{self.title}: mean of each class")

    def theta(self) -> Figure:
        """The distribution of theta over the test images."""
        layer = self._transformer()
        assert self._survey.theta is not None
        title = f"{self.title}: theta of {self._survey.images:,} test images"
        return draw_theta(self._survey.theta, layer.transform, title=title)

    def paths(self) -> Figure:
        """Theta of a few images through training."""
        layer, history = self._transformer(), self._history()
        return draw_theta_paths(
            history["step"],
            history["theta"],
            layer.transform,
            title=f"{self.name}: theta of {history['theta'].shape[1]} images",
        )

    def curves(self) -> Figure:
        """Training loss and error, and learning rates."""
        runs = {self.name: self._history()}
        return draw_curves(runs, title=self.title, error=self.task.error_label)

    def training_film(self, frames: int = 80) -> Iterator[Image.Image]:
        """A film of a few images, their grids, outputs and predictions through training.

        Raises:
            OptionError: If the run has no history.
        """
        history = self._history()
        images, truth = self.dataset.probes(seed=self.trained_seed, data_root=self.data_root)
        images, truth = images[: self.count], truth[: self.count]
        last = len(history["step"]) - 1
        chosen = sorted({round(k * last / max(1, frames - 1)) for k in range(frames)})
        steps = history["step"][chosen].int().tolist()
        theta = warped = None
        if self.layer is not None:
            theta = history["theta"][chosen, : len(images)]
            warped = torch.stack([self._warp(self.layer, images, one) for one in theta])
        classes = history["classes"][chosen, : len(images)] if "classes" in history else None
        errors = history["error_percent"][chosen].tolist()
        return film_frames(
            images.expand(len(chosen), *images.shape),
            warped,
            theta,
            self.transform,
            titles=list(map(self.task.frame_title, steps, errors)),
            **self.task.frame_captions(classes, truth),
        )

    def motion_film(self, frames: int = 96) -> Iterator[Image.Image]:
        """A film of moving test digits, with the transformer's outputs.

        Raises:
            OptionError: If the data set's digits cannot be moved.
        """
        check_motion(self.dataset.name)  # before digits are fetched
        digits, truth = self._movable()
        model = self.model
        images = torch.stack([move(self.dataset.name, digits, k / frames) for k in range(frames)])
        seen = [predict(model, batch.to(self.device)) for batch in images]
        scores = [s.scores for s in seen if s.scores is not None]
        return film_frames(
            images,
            torch.stack([s.warped.cpu() for s in seen if s.warped is not None])
            if self.layer
            else None,
            torch.stack([s.theta.cpu() for s in seen if s.theta is not None])
            if self.layer
            else None,
            self.transform,
            predicted=[self.task.spell(s.argmax(-1)) for s in scores] if scores else None,
            truth=self.task.spell(truth) if scores else None,
            titles=[self.name] * frames,
            across=images.dim() < 6,
            columns=4,
        )

    def _movable(self) -> tuple[Tensor, Tensor]:
        """Clean test digits ``(count, 1, 28, 28)`` and the labels of the images made of them."""
        digits = load_digits("test", self.data_root)
        order = torch.randperm(len(digits), generator=generator("cpu", self.seed, "motion"))
        order = self.task.movable(digits, order, self.dataset)
        images, labels = digits.take(order[: self.count])
        return images, moved_labels(self.dataset.name, labels)

    def _warp(self, layer: SpatialTransformer, images: Tensor, theta: Tensor) -> Tensor:
        """The transformer's output for a theta ``(B, N, P)``: ``(B, N, C, *size)``."""
        return warp(images, theta, layer.transform, layer.size, **layer.sampler.options())

    def _fixed(self) -> Batch:
        """The first block of test images."""
        seed = self.trained_seed if self.task.measures_own_images else self.seed
        return next(
            self.dataset.fixed("test", seed=seed, data_root=self.data_root, device=self.device)
        )

    @cached_property
    def _survey(self) -> Survey:
        seed = self.trained_seed if self.task.measures_own_images else FIXED_SEED
        blocks = self.dataset.fixed("test", seed=seed, data_root=self.data_root, device=self.device)
        batches = (self.task.survey_batch(batch, self.dataset) for batch in blocks)
        return survey(self.model, batches, mistakes=3 * self.count)

    def _draw_batch(self, batch: Batch, title: str) -> Figure:
        prediction = predict(self.model, batch[0])
        return draw_sheet(
            batch[0],
            prediction.warped,
            prediction.theta,
            self.transform,
            title=f"{self.title}{title}{self.task.caption_note}",
            **self.task.captions(prediction, self.model, batch),
        )

    def _transformer(self) -> SpatialTransformer:
        if self.layer is None:
            raise OptionError(f"{self.name} has no spatial transformer to show")
        return self.layer

    def _history(self) -> dict[str, Tensor]:
        if not self.history:
            raise OptionError(
                f"{self.name} has no history: weights alone have none, nor runs of a version that "
                "kept none. Train it, into another folder, to see how it learnt"
            )
        return self.history


def open_pictures(name: str, *, device: torch.device | str = "cpu", **options: Any) -> Pictures:
    """``Pictures`` of a run's folder, a checkpoint file, or a name that ``from_pretrained`` takes.

    ``options`` are those of ``Pictures``; other errors are those of ``from_pretrained``.

    Raises:
        CheckpointError: If files are broken or do not fit together.
    """
    loaded = load_model(name, device)
    if loaded.run is not None:
        options |= {
            "iteration": loaded.run.iteration,
            "history": loaded.run.history,
            "trained_seed": loaded.run.config.seed,
        }
    return Pictures(
        loaded.model, make_dataset(loaded.dataset), loaded.name, device=device, **options
    )


#: kind of picture -> how it is drawn
KINDS: dict[str, Callable[[Pictures], Any]] = {
    "sheet": Pictures.sheet,
    "stages": Pictures.stages,
    "mistakes": Pictures.mistakes,
    "means": Pictures.means,
    "theta": Pictures.theta,
    "paths": Pictures.paths,
    "curves": Pictures.curves,
}


def find_kinds(names: Sequence[str]) -> list[str]:
    """The kinds of picture by their names; "all" is every one.

    Raises:
        OptionError: If a name is unknown.

    Examples:
        >>> find_kinds(["all"])
        ['sheet', 'stages', 'mistakes', 'means', 'theta', 'paths', 'curves']
    """
    for name in names:
        if name != "all" and name not in KINDS:
            raise OptionError(unknown("kind of picture", name, (*KINDS, "all")))
    return list(KINDS) if "all" in names else list(dict.fromkeys(names))
