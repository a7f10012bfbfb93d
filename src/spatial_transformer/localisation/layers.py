"""Lazy layers for bodies of localisation networks, initialised so that their features tell images
apart.

torch's own initial weights are so small that, a few layers on, features hardly differ from image
to image. Then theta does not either: the head's gradient moves it for all images alike, which ends
with the same theta for every image.
"""

from torch import nn
from torch.nn.parameter import is_lazy


def _start(layer: nn.Linear | nn.Conv2d | nn.Conv3d) -> None:
    """Weights of variance 2 / fan_in, biases of zero: what a rectifier passes on varies as much as
    what came in.

    Source: He et al., "Delving deep into rectifiers" (2015), equation (10).
    """
    if is_lazy(layer.weight) or not layer.weight.numel():
        return  # the input's width is not known yet
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


class LazyLinear(nn.LazyLinear):
    """:class:`torch.nn.LazyLinear`, to be followed by a rectifier."""

    def reset_parameters(self) -> None:
        _start(self)


class LazyConv2d(nn.LazyConv2d):
    """:class:`torch.nn.LazyConv2d`, to be followed by a rectifier."""

    def reset_parameters(self) -> None:
        _start(self)


class LazyConv3d(nn.LazyConv3d):
    """:class:`torch.nn.LazyConv3d`, to be followed by a rectifier."""

    def reset_parameters(self) -> None:
        _start(self)
