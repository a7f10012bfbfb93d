"""The base class of localisation networks: features in, theta out, initialised to the identity."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from spatial_transformer.coordinates import full_precision, is_count
from spatial_transformer.errors import DTypeError, OptionError
from spatial_transformer.evaluating import evaluating
from spatial_transformer.localisation.layers import LazilySized, Linear
from spatial_transformer.names import TransformName
from spatial_transformer.transforms import Transform, as_transform


class IdentityLinear(Linear):
    """A linear layer with zero weights whose bias is the identity theta of ``transform``.

    Note:
        Source: the paper's appendix A.3, "zero weights, identity transform bias".
    """

    transform: Transform

    def reset_parameters(self) -> None:
        """Set the weights to zero and the bias to the identity."""
        identity = self.transform.identity() if hasattr(self, "transform") else torch.zeros(1)
        with torch.no_grad():
            self.weight.zero_()
            repeats = self.bias.numel() // identity.numel()
            self.bias.copy_(identity.repeat(repeats))

    def forward(self, features: Tensor) -> Tensor:
        """Features ``(B, F)`` to theta ``(B, N * P)``, in the dtype of the weights."""
        return super().forward(features.to(self.weight.dtype))


class LazyIdentityLinear(LazilySized):
    """``IdentityLinear`` whose input width is that of the first batch."""

    cls_to_become = IdentityLinear
    forward = IdentityLinear.forward

    def __init__(self, transform: Transform, count: int) -> None:
        super().__init__(count * transform.num_params)
        # not a submodule: it is not a part of the network
        object.__setattr__(self, "transform", transform)

    def reset_parameters(self) -> None:
        """Initialise to the identity, once the input width is known."""
        if not self.has_uninitialized_params() and self.in_features != 0:
            IdentityLinear.reset_parameters(self)  # type: ignore[arg-type]


def check_floating(image: Tensor) -> None:
    """Check that an image is floating point, as torch's layers require.

    Raises:
        DTypeError: If it is not.
    """
    if not image.is_floating_point():
        raise DTypeError(
            f"image must be floating point for this localisation network, got {image.dtype} "
            "(divide it by 255, say)"
        )


class Localisation(nn.Module):
    """A feature extractor followed by a linear layer that regresses theta.

    Args:
        body: Any module from ``(B, C, H, W)`` (or whatever you feed it) to features; they are
            flattened.
        transform: The ``Transform`` whose theta is predicted, or its name.
        count: N, for theta of shape ``(B, N, P)``; None for ``(B, P)``.
        in_shape: ``(C, H, W)`` of one image, to size lazy layers at once rather than at the first
            batch.

    Raises:
        OptionError: If ``count`` is not a positive whole number or ``transform`` is not a
            transform.
        UnknownNameError: If the transform's name is not registered.

    Note:
        Source: the paper's section 3.1; initialisation from appendix A.3.

    Examples:
        >>> net = Localisation(nn.Flatten(), "affine")
        >>> net(torch.zeros(2, 1, 4, 4))[0].detach()
        tensor([1., 0., 0., 0., 1., 0.])
    """

    def __init__(
        self,
        body: nn.Module,
        transform: Transform | TransformName,
        count: int | None = None,
        in_shape: tuple[int, ...] | None = None,
    ) -> None:
        super().__init__()
        if count is not None and not is_count(count):
            raise OptionError(f"count must be a positive number of transforms, got {count!r}")
        transform = as_transform(transform)
        self.num_params = transform.num_params
        self.count = count
        self.body = body
        self.head = LazyIdentityLinear(transform, count or 1)
        if in_shape is not None:
            with torch.no_grad(), evaluating(self):  # batch norms ignore it
                self(torch.zeros(1, *in_shape))

    if TYPE_CHECKING:

        def __call__(self, image: Tensor) -> Tensor:
            """As ``forward``."""

    def forward(self, image: Tensor) -> Tensor:
        """Images ``(B, C, *spatial)`` to theta ``(B, P)`` or ``(B, N, P)``.

        theta is float32 even under autocast: half precision is too coarse for grids.

        Raises:
            ShapeError: If the image's size is not that of the first image.
        """
        features = self.body(image).flatten(1)
        with full_precision(features.device):
            theta = self.head(features)
        return theta if self.count is None else theta.unflatten(1, (self.count, self.num_params))
