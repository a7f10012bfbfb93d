"""A spatial transformer that looks at an image several times, one glimpse after the other."""

from collections.abc import Sequence
from typing import Unpack

import torch
from torch import Tensor, nn

from spatial_transformer.evaluating import evaluating
from spatial_transformer.functional import warp
from spatial_transformer.localisation.recurrent import RecurrentLocalisation
from spatial_transformer.modules.spatial_transformer import LayerOptions, SpatialTransformer
from spatial_transformer.names import TransformName
from spatial_transformer.transforms import Transform, as_transform


class Recurrent(SpatialTransformer):
    """A recurrent spatial transformer: a sequence of T glimpses of one image.

    The image's features go at every step into a recurrent cell, a linear layer regresses theta from
    its state, and the image is warped. With an encoder each step also sees the glimpse before it
    (the first step the whole image).

    Args:
        features: A module from the image to features; they are computed once and flattened.
        cell: ``nn.GRUCell``, ``nn.RNNCell``, ``nn.LSTMCell``, or any module (input, state) -> state
            or (output, state), whose output is ``(B, H)``; the first state is None.
        transform: As for ``SpatialTransformer``.
        size: As for ``SpatialTransformer``; that of a glimpse.
        steps: T.
        encoder: A module from a glimpse ``(B, C, *size)`` to features, which go into the cell
            beside the image's; None for no feedback.
        in_shape: ``(C, H, W)`` of one image, to size lazy layers at once.
        **options: The others of ``SpatialTransformer``.

    Raises:
        OptionError: If ``steps`` is not a positive whole number, or a part is not a module.
        ShapeError: If features do not fit the cell, or its output is not ``(B, H)``.

    Note:
        Source: Sonderby et al. 2015, "Recurrent Spatial Transformer Networks" (arXiv 1509.05329),
        which has no feedback.
        Coordinates: as ``SpatialTransformer``. Every theta is relative to the image.

    Examples:
        >>> layer = Recurrent(nn.Flatten(), nn.GRUCell(64, 16), "attention", 4, steps=3)
        >>> glimpses, theta = layer(torch.rand(2, 1, 8, 8), return_theta=True)
        >>> glimpses.shape, theta.shape
        (torch.Size([2, 3, 1, 4, 4]), torch.Size([2, 3, 3]))
    """

    localisation: RecurrentLocalisation

    def __init__(
        self,
        features: nn.Module,
        cell: nn.Module,
        transform: Transform | TransformName = "affine",
        size: Sequence[int] | int | None = None,
        *,
        steps: int,
        encoder: nn.Module | None = None,
        in_shape: tuple[int, ...] | None = None,
        **options: Unpack[LayerOptions],
    ) -> None:
        transform = as_transform(transform)
        localisation = RecurrentLocalisation(features, cell, transform, steps, encoder)
        super().__init__(localisation, transform, size, **options)
        if in_shape is not None:
            with torch.no_grad(), evaluating(self):  # batch norms ignore it
                self(torch.zeros(1, *in_shape))

    def forward(
        self, image: Tensor, return_theta: bool | None = None
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Warp images by the thetas that the localisation network predicts one after the other.

        Args:
            image: ``(B, C, H, W)`` or ``(B, C, D, H, W)``.
            return_theta: Whether to return theta as well; None for the layer's own setting.

        Returns:
            ``(B, T, C, *size)``; with theta ``(B, T, P)`` if asked for. Errors as for ``warp``.
        """
        self._check_image(image)
        glimpses: list[Tensor] = []

        def look(theta: Tensor) -> Tensor:
            view = warp(image, theta, self.transform, self.size, **self.sampler.options())
            glimpses.append(view)
            return view

        theta = self.localisation(image, look)
        # with feedback they are there; the first is the identity's
        warped = torch.stack(glimpses[1:], dim=1) if glimpses else look(theta)
        return (warped, theta) if self._wants_theta(return_theta) else warped
