"""Lazy layers for localisation networks, initialised so that features differ between images.

torch's own initial weights are so small that, after a few layers, features hardly differ from image
to image. Then theta does not either: the head's gradient moves it for all images in the same way,
which ends with the same theta for every image.
"""

from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from spatial_transformer.coordinates import is_count
from spatial_transformer.errors import OptionError, ShapeError


def check_counts(name: str, values: Any) -> tuple[int, ...]:
    """Positive whole numbers, in a sequence, as a tuple.

    Raises:
        OptionError: If it is not a sequence of positive whole numbers.

    Examples:
        >>> check_counts("units", [32, 32])
        (32, 32)
    """
    try:
        counts = tuple(values)
    except TypeError:
        counts = (None,)
    if not all(is_count(n) for n in counts):
        raise OptionError(f"{name} must be positive whole numbers in a list, got {values!r}")
    return counts


def init_for_rectifier(layer: nn.Linear | nn.Conv2d | nn.Conv3d) -> None:
    """Initialise weights with variance 2 / fan_in and biases with zero, for a rectifier.

    What the rectifier passes on then varies as much as its input.

    Note:
        Source: He et al., "Delving deep into rectifiers" (2015), equation (10).
    """
    if is_lazy(layer.weight) or not layer.weight.numel():
        return  # the input's width is not known yet
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


class Linear(nn.Linear):
    """``torch.nn.Linear`` with an error message for images of another size."""

    def forward(self, features: Tensor) -> Tensor:
        """As ``torch.nn.Linear``.

        Raises:
            ShapeError: If the number of features is not that of the first image.
        """
        if features.shape[-1] != self.in_features:
            raise ShapeError(
                f"this localisation network is for images of one size, that of its first image or "
                f"of in_shape=: they give {self.in_features} numbers here, this one gives "
                f"{features.shape[-1]}"
            )
        return super().forward(features)


class LazilySized(nn.LazyLinear):
    """``Linear`` whose input width is that of the first batch, or of a state loaded before it."""

    cls_to_become = Linear  # type: ignore[assignment]
    # the first batch changes the class, but after this method has been looked up
    forward = Linear.forward  # type: ignore[assignment]

    def initialize_parameters(self, features: Tensor) -> None:  # type: ignore[override]
        """Take the input width from a loaded state or the first batch."""
        if (
            not self.has_uninitialized_params()
        ):  # torch 2.6 leaves in_features at 0 after loading a state
            self.in_features = self.weight.shape[1]
        super().initialize_parameters(features)


class LazyLinear(LazilySized):
    """``LazilySized``, initialised for a rectifier."""

    def reset_parameters(self) -> None:
        """Initialise for a rectifier, once the input width is known."""
        init_for_rectifier(self)


class LazyConv2d(nn.LazyConv2d):
    """``torch.nn.LazyConv2d``, initialised for a rectifier."""

    def reset_parameters(self) -> None:
        """Initialise for a rectifier, once the input's channels are known."""
        init_for_rectifier(self)


class LazyConv3d(nn.LazyConv3d):
    """``torch.nn.LazyConv3d``, initialised for a rectifier."""

    def reset_parameters(self) -> None:
        """Initialise for a rectifier, once the input's channels are known."""
        init_for_rectifier(self)
