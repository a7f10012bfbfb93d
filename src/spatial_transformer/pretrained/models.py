"""What a network is built from, as plain values, and the registry of what builds it.

The library has no networks of its own: packages that do register them in :data:`MODELS`, and name
the module that does so as an entry point of the group ``spatial_transformer.models``.
``spatial_transformer.experiments`` is one of them.
"""

from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points

from torch import nn

from spatial_transformer.errors import OptionError
from spatial_transformer.options import check_count
from spatial_transformer.registry import Registry

#: name -> a function of a :class:`ModelConfig`
MODELS: Registry[nn.Module] = Registry("model")


@dataclass(frozen=True)
class ModelConfig:
    """What a model is built from; plain values, so that a checkpoint can hold it.

    ``size`` is what the transformer samples the input to, in pixels (None: the input's size).
    ``parameters`` is the budget of the whole network, localisation included.
    Raises: OptionError naming the option that has no such value.
    """

    model: str = "st_cnn"
    in_shape: tuple[int, ...] = (1, 28, 28)
    classes: int = 10
    transform: str = "affine"
    size: int | None = None
    padding: str = "zeros"
    parameters: int = 400_000

    def __post_init__(self) -> None:
        shape = self.in_shape
        if not isinstance(shape, list | tuple) or len(shape) not in (3, 4):
            raise OptionError(f"in_shape must be (C, H, W) or (C, D, H, W), got {shape!r}")
        plain = {
            "in_shape": tuple(check_count("every number of in_shape", n) for n in shape),
            "classes": check_count("classes", self.classes),
            "size": None if self.size is None else check_count("size", self.size),
            "parameters": check_count("parameters", self.parameters),
        }
        for name, value in plain.items():  # a file holds no NumPy scalars
            object.__setattr__(self, name, value)
        for name in ("model", "transform", "padding"):
            if not isinstance(getattr(self, name), str):
                raise OptionError(f"{name} must be a name, got {getattr(self, name)!r}")

    @property
    def has_transformer(self) -> bool:
        return self.model.startswith("st")

    @property
    def dims(self) -> int:
        """2 for images, 3 for volumes."""
        return len(self.in_shape) - 1

    @property
    def sampled_size(self) -> tuple[int, ...]:
        """What the transformer samples to, in pixels."""
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

    Raises: UnknownNameError, OptionError, ShapeError.

    >>> sum(p.numel() for p in build_model(ModelConfig("fcn")).parameters())
    399615
    """
    _load_entry_points()
    return MODELS.make(config.model, config=config)
