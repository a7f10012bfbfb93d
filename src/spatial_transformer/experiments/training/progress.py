"""Progress of a run: a protocol, a rich progress bar, and TensorBoard."""

from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from spatial_transformer.extras import require
from spatial_transformer.integrations.tensorboard import log_losses, log_transformer, transformers
from spatial_transformer.options import check_count


@dataclass(frozen=True)
class EvalResult:
    """Mean loss over a number of images and the indices of the wrong ones.

    The loss is None for a task without one. Where an image has a sequence of ``length`` labels,
    mistakes are of labels: those of one image after those of the image before. ``by_class`` has the
    wrong ones and all labels of each class, and is empty for a task without classes.
    """

    loss: float | None
    mistakes: list[int]
    images: int
    length: int = 1
    by_class: dict[int, tuple[int, int]] = field(default_factory=dict)

    @property
    def error_percent(self) -> float:
        """The error in percent, of labels where an image has several."""
        return 100 * len(self.mistakes) / (self.images * self.length)

    @property
    def sequence_error_percent(self) -> float | None:
        """The images with a mistake, in percent; None where an image has one label."""
        if self.length == 1:
            return None
        return 100 * len({index // self.length for index in self.mistakes}) / self.images

    @property
    def loss_text(self) -> str:
        """The loss as text."""
        return "" if self.loss is None else f", loss {self.loss:.4f}"


class Callback(Protocol):
    """Called at every step; a context manager, to open and close what it writes to."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...
    def step(self, iteration: int, loss: float, error_percent: float) -> None:
        """Training loss and error, smoothed, after ``iteration`` steps."""

    def evaluated(self, iteration: int, part: str, measured: EvalResult) -> None:
        """Loss and error on the whole of ``part``."""


@runtime_checkable
class ModelCallback(Protocol):
    """A callback that gets the network and the batch as well."""

    def see(self, iteration: int, model: nn.Module, images: Tensor) -> None:
        """The network after ``iteration`` steps, and the images of the last."""


class ProgressBar:
    """A line with loss, error and the time remaining; lines of text without a terminal."""

    def __init__(self, label: str, iterations: int, console: Console | None = None) -> None:
        self.label, self.iterations = label, iterations
        self.console = console or Console(stderr=True)
        self.bar = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]}  error {task.fields[error]}"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.task = self.bar.add_task(label, total=iterations, loss="-", error="-")

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.bar.stop()

    def step(self, iteration: int, loss: float, error_percent: float) -> None:
        """Update the line."""
        self.bar.update(
            self.task, completed=iteration, loss=f"{loss:.3f}", error=f"{error_percent:5.2f} %"
        )
        tenth = max(1, self.iterations // 10)
        if not self.console.is_terminal and (iteration % tenth == 0 or iteration == 1):
            self.console.print(
                f"{self.label}: step {iteration} of {self.iterations}, "
                f"loss {loss:.3f}, error {error_percent:.2f} %",
                highlight=False,
            )

    def evaluated(self, iteration: int, part: str, measured: EvalResult) -> None:
        """Print a line with loss and error."""
        self.bar.console.print(
            f"{self.label}: {part} error {measured.error_percent:.2f} %{measured.loss_text}",
            highlight=False,
        )


class TensorBoard:
    """Log losses and errors to TensorBoard, and the spatial transformers every so many steps.

    Raises:
        OptionError: If TensorBoard is not installed, or ``every`` is not a positive whole number.
    """

    def __init__(self, folder: Path, every: int = 100) -> None:
        require("tensorboard", "tensorboard")
        self.writer = require("torch.utils.tensorboard", "tensorboard").SummaryWriter(str(folder))
        self.every = check_count("every", every)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.writer.close()

    def step(self, iteration: int, loss: float, error_percent: float) -> None:
        """Log training loss and error."""
        log_losses(self.writer, "train", iteration, loss=loss, error_percent=error_percent)

    def evaluated(self, iteration: int, part: str, measured: EvalResult) -> None:
        """Log loss and error of a part."""
        errors = {"error_percent": measured.error_percent}
        if measured.loss is not None:
            errors["loss"] = measured.loss
        log_losses(self.writer, part, iteration, **errors)

    def see(self, iteration: int, model: nn.Module, images: Tensor) -> None:
        """Log the spatial transformers, every so many steps."""
        layers = transformers(model)
        if layers and (iteration == 1 or iteration % self.every == 0):
            dims = next(iter(layers)).transform.dims
            images = images.flatten(0, images.dim() - dims - 2)  # stacked images, one by one
            log_transformer(self.writer, model, images, iteration)
