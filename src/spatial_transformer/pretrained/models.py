"""The configuration of a network, as plain values, and the registry of functions that build it.

The library has no networks of its own: packages that do register them in ``MODELS``, and name the
module that does so as an entry point of the group ``spatial_transformer.models``.
``spatial_transformer.experiments`` is one of them.
"""

from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points

from torch import nn

from spatial_transformer.errors import OptionError
from spatial_transformer.options import check_count
from spatial_transformer.registry import Registry

#: name -> a function of a ``ModelConfig``
MODELS: Registry[nn.Module] = Registry("model")


@dataclass(frozen=True)
class ModelConfig:
    """What a model is built from; plain values, so that a checkpoint can store it.

    Attributes:
        model: A name of ``MODELS``.
        in_shape: ``(C, H, W)`` or ``(C, D, H, W)`` of an image.
        classes: Number of classes.
        transform: A name of ``list_transforms``.
        size: What the transformer samples the input to, in pixels; the input's size if None.
        padding: The padding's name.
        parameters: The budget of the whole network, localisation included, for networks that are
            as wide as one allows; of ``idsia`` and its versions with transformers that of the
            classifier alone.
        length: Labels of an image; more than one for a sequence.

    Raises:
        OptionError: If an option has an invalid value; the message names it.
    """

    model: str = "st_cnn"
    in_shape: tuple[int, ...] = (1, 28, 28)
    classes: int = 10
    transform: str = "affine"
    size: int | None = None
    padding: str = "zeros"
    parameters: int = 400_000
    length: int = 1

    def __post_init__(self) -> None:
        shape = self.in_shape
        if not isinstance(shape, list | tuple) or len(shape) not in (3, 4):
            raise OptionError(f"in_shape must be (C, H, W) or (C, D, H, W), got {shape!r}")
        plain = {
            "in_shape": tuple(check_count("every number of in_shape", n) for n in shape),
            "classes": check_count("classes", self.classes),
            "size": None if self.size is None else check_count("size", self.size),
            "parameters": check_count("parameters", self.parameters),
            "length": check_count("length", self.length),
        }
        for name, value in plain.items():  # a file holds no NumPy scalars
            object.__setattr__(self, name, value)
        for name in ("model", "transform", "padding"):
            if not isinstance(getattr(self, name), str):
                raise OptionError(f"{name} must be a name, got {getattr(self, name)!r}")

    @property
    def has_transformer(self) -> bool:
        """Whether the model has a spatial transformer."""
        return self.model.startswith("st")

    @property
    def dims(self) -> int:
        """2 for images, 3 for volumes."""
        return len(self.in_shape) - 1

    @property
    def sampled_size(self) -> tuple[int, ...]:
        """The size that the transformer samples to, in pixels."""
        return (self.size,) * self.dims if self.size else self.in_shape[1:]

    @property
    def label(self) -> str:
        """The name in records and tables, such as ``st_cnn_affine``."""
        return f"{self.model}_{self.transform}" if self.has_transformer else self.model


@cache
def _load_entry_points() -> None:
    for entry in entry_points(group="spatial_transformer.models"):
        entry.load()


def build_model(config: ModelConfig) -> nn.Module:
    """The network of a configuration; its initial weights come from torch's global generator.

    Raises:
        UnknownNameError: If the name of the model or of its transform is not registered.
        OptionError: If an option is invalid for this model.
        ShapeError: If the images are too small for its layers.

    Examples:
        >>> sum(p.numel() for p in build_model(ModelConfig("fcn")).parameters())
        399615
    """
    _load_entry_points()
    return MODELS.make(config.model, config=config)
