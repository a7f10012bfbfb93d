"""Logging of spatial transformers to TensorBoard: thetas, the fraction outside, warped images.

There is one implementation, ``log_transformer``, with three users: your own loop, the callback for
Lightning, and ``stn train --tensorboard``.
"""

import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from spatial_transformer.errors import OptionError
from spatial_transformer.evaluating import evaluating
from spatial_transformer.functional import warp
from spatial_transformer.modules.spatial_transformer import SpatialTransformer
from spatial_transformer.options import check_count
from spatial_transformer.transforms.regularisers import outside_fraction

#: thetas with more parameters have one histogram, not one a parameter
MOST_PARAMETERS = 32


class Writer(Protocol):
    """The part of ``torch.utils.tensorboard.SummaryWriter`` that is used here."""

    def add_scalar(self, tag: str, scalar_value: Any, global_step: int) -> None:
        """Log a number."""

    def add_histogram(self, tag: str, values: Any, global_step: int) -> None:
        """Log a histogram."""

    def add_image(self, tag: str, img_tensor: Any, global_step: int) -> None:
        """Log an image ``(C, H, W)``."""


def transformers(model: nn.Module) -> dict[SpatialTransformer, str]:
    """The spatial transformers of a model and their names; the model itself is "transformer"."""
    named = model.named_modules()
    return {m: n or "transformer" for n, m in named if isinstance(m, SpatialTransformer)}


def log_losses(writer: Writer, part: str, step: int, **losses: float) -> None:
    """Log scalars ``<name>/<part>``, such as ``loss/train``."""
    for name, value in losses.items():
        writer.add_scalar(f"{name}/{part}", value, step)


def log_transformer(
    writer: Writer, module: nn.Module, images: Tensor, step: int, *, count: int = 8
) -> None:
    """Run a model on images and log each of its spatial transformers.

    For a transformer with the name ``t`` in the model ("transformer" for the model itself), of each
    parameter p: ``t/theta/p`` (histogram), ``t/theta_mean/p``, ``t/theta_std/p``; of more than 32
    parameters together, as "all". ``t/outside`` is the fraction of its samples that lie outside its
    image, ``t/not_finite`` the fraction of images whose theta is NaN or infinite (which the others
    leave out); ``t/input`` and ``t/warped`` are the first images side by side (of a volume the
    middle slice). N transforms of an image are ``t/0`` to ``t/N-1``.

    The model runs in eval mode without gradients, and its own mode is restored.

    Args:
        writer: A ``SummaryWriter``.
        module: The model.
        images: A batch ``(B, C, H, W)`` or ``(B, C, D, H, W)`` that ``module`` takes.
        step: The step to log at.
        count: How many images are drawn.

    Raises:
        OptionError: If the model has no spatial transformer, or ``count`` is not a positive whole
            number.

    Examples:
        >>> class Print:
        ...     def add_scalar(self, tag, value, step): print(tag, float(value))
        ...     def add_histogram(self, tag, values, step): pass
        ...     def add_image(self, tag, image, step): print(tag, tuple(image.shape))
        >>> layer = SpatialTransformer("fully_connected", "attention")
        >>> log_transformer(Print(), layer, torch.rand(4, 1, 8, 8), step=0, count=2)
        transformer/theta_mean/s 1.0
        transformer/theta_std/s 0.0
        transformer/theta_mean/tx 0.0
        transformer/theta_std/tx 0.0
        transformer/theta_mean/ty 0.0
        transformer/theta_std/ty 0.0
        transformer/outside 0.0
        transformer/not_finite 0.0
        transformer/input (1, 8, 17)
        transformer/warped (1, 8, 17)
    """
    check_count("count", count)
    if not transformers(module):
        raise OptionError("the model has no spatial transformer to log")
    with torch.no_grad(), evaluating(module):
        for name, layer, image in _inputs(module, images):
            _, theta = layer(image, return_theta=True)
            warped = warp(image, theta, layer.transform, layer.size, **layer.sampler.options())
            if theta.dim() == 2:
                theta, warped = theta[:, None], warped[:, None]
            for k in range(theta.shape[1]):
                tag = name if theta.shape[1] == 1 else f"{name}/{k}"
                _log_theta(writer, tag, layer, theta[:, k], step)
                _log_images(writer, tag, image[:count], warped[:count, k], step)


def _inputs(module: nn.Module, images: Tensor) -> Iterator[tuple[str, SpatialTransformer, Tensor]]:
    """Every transformer of a model with its name and its input."""
    layers = transformers(module)
    inputs: dict[SpatialTransformer, Tensor] = {}

    def keep(layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        inputs[layer] = args[0] if args else kwargs["image"]

    hooks = [m.register_forward_pre_hook(keep, with_kwargs=True) for m in layers]
    try:
        module(images)
    finally:
        for hook in hooks:
            hook.remove()
    for layer, image in inputs.items():
        yield layers[layer], layer, image.detach()


def _log_theta(
    writer: Writer, tag: str, layer: SpatialTransformer, theta: Tensor, step: int
) -> None:
    theta = theta.detach().float().cpu()
    transform = layer.transform
    names = getattr(transform, "param_names", tuple(map(str, range(transform.num_params))))
    columns = dict(zip(names, theta.unbind(1), strict=True))
    if len(columns) > MOST_PARAMETERS:
        columns = {"all": theta.flatten()}
    for name, values in columns.items():
        finite = values[torch.isfinite(values)]
        if len(finite):  # there are no empty histograms
            writer.add_histogram(f"{tag}/theta/{name}", finite, step)
            writer.add_scalar(f"{tag}/theta_mean/{name}", finite.mean(), step)
            writer.add_scalar(f"{tag}/theta_std/{name}", finite.std(correction=0), step)
    grid = transform.grid(theta, (8,) * transform.dims)
    writer.add_scalar(f"{tag}/outside", outside_fraction(grid).mean(), step)
    unknown = ~theta.isfinite().all(1)
    writer.add_scalar(f"{tag}/not_finite", unknown.float().mean(), step)


def _log_images(writer: Writer, tag: str, image: Tensor, warped: Tensor, step: int) -> None:
    low, high = image.min(), image.max()
    if low >= 0 and high <= 1:
        low, high = torch.zeros_like(low), torch.ones_like(high)
    for name, batch in (("input", image), ("warped", warped)):
        pixels = ((batch - low) / (high - low).clamp(min=1e-12)).clamp(0, 1)
        writer.add_image(f"{tag}/{name}", _side_by_side(pixels.float().cpu()), step)


def _side_by_side(batch: Tensor) -> Tensor:
    """``(B, C, [D,] H, W)`` -> ``(1 or 3, H, B * (W + 1) - 1)``, a white line between."""
    if batch.dim() == 5:
        batch = batch[:, :, batch.shape[2] // 2]
    if batch.shape[1] not in (1, 3):
        batch = batch[:, :1]
    padded = torch.nn.functional.pad(batch, (0, 1), value=1.0)
    return torch.cat(padded.unbind(), dim=-1)[..., :-1]


class SpatialTransformerCallback:
    """A Lightning callback that logs spatial transformers to the trainer's TensorBoard loggers.

    Every so many steps it logs the training loss and, by ``log_transformer``, the training batch.
    It is a callback of ``lightning.pytorch`` and of ``pytorch_lightning``, whichever is installed.
    Batches are a tensor of images, or a tuple, list or dict whose first entry is one; otherwise
    override ``images``. The model's ``forward`` must take the images.

    Args:
        every: Steps between two logs.
        count: How many images are drawn.

    Raises:
        OptionError: If neither package is installed, or a number is not a positive whole number.
    """

    def __new__(cls, every: int = 100, count: int = 8) -> "SpatialTransformerCallback":
        """An instance of a subclass that also derives from Lightning's own callback class."""
        # Lightning accepts only subclasses of its own, which is not imported before it is needed
        kind = type(cls.__name__, (cls, *_lightning_callbacks()), {"_plain": cls})
        callback: SpatialTransformerCallback = object.__new__(kind)
        return callback

    def __init__(self, every: int = 100, count: int = 8) -> None:
        super().__init__()
        self.every, self.count = check_count("every", every), check_count("count", count)

    def __reduce__(self) -> Any:
        return self._plain, (self.every, self.count)  # type: ignore[attr-defined]

    def images(self, batch: Any) -> Tensor:
        """The images of a batch.

        Raises:
            OptionError: If the batch does not start with images.
        """
        if isinstance(batch, dict):
            batch = list(batch.values())
        first = batch[0] if isinstance(batch, (tuple, list)) and batch else batch
        if not isinstance(first, Tensor) or first.dim() not in (4, 5):
            raise OptionError(
                "the batch does not start with images (B, C, H, W): override "
                "SpatialTransformerCallback.images"
            )
        return first

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Lightning's hook."""
        step = trainer.global_step
        if step % self.every or not trainer.is_global_zero:
            return
        writers = [logger.experiment for logger in trainer.loggers]
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        for writer in writers:
            if hasattr(writer, "add_histogram"):
                if loss is not None:
                    log_losses(writer, "train", step, loss=float(loss))
                log_transformer(writer, pl_module, self.images(batch), step, count=self.count)


def _lightning_callbacks() -> list[type]:
    """The callback classes of the Lightnings in use; else of the first that is installed."""
    names = ("lightning.pytorch", "pytorch_lightning")
    for name in names:
        if any(sys.modules.get(n) for n in names):
            break
        with suppress(ImportError):
            import_module(name)
    classes = [sys.modules[n].Callback for n in names if sys.modules.get(n)]
    if not classes:
        raise OptionError("Lightning is not installed: pip install lightning")
    return list(dict.fromkeys(classes))
