"""Lazy layers for bodies of localisation networks, initialised so that their features tell images
apart.

torch's own initial weights are so small that, a few layers on, features hardly differ from image
to image. Then theta does not either: the head's gradient moves it for all images alike, which ends
with the same theta for every image.
"""

from torch import nn
from torch.nn.modules.lazy import LazyModuleMixin


class _ForRectifier(LazyModuleMixin):
    """Weights of variance 2 / fan_in, biases of zero: what a rectifier passes on varies as much as
    what came in.

    Source: He et al., "Delving deep into rectifiers" (2015), equation (10).
    """

    weight: nn.Parameter
    bias: nn.Parameter

    def reset_parameters(self) -> None:
        if self.has_uninitialized_params() or not self.weight.numel():
            return  # the input's width is not known yet
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")
        nn.init.zeros_(self.bias)


class LazyLinear(_ForRectifier, nn.LazyLinear):
    """:class:`torch.nn.LazyLinear`, to be followed by a rectifier."""


class LazyConv2d(_ForRectifier, nn.LazyConv2d):
    """:class:`torch.nn.LazyConv2d`, to be followed by a rectifier."""


class LazyConv3d(_ForRectifier, nn.LazyConv3d):
    """:class:`torch.nn.LazyConv3d`, to be followed by a rectifier."""
