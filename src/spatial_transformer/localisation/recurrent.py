"""A localisation network that predicts one theta after the other from its recurrent state."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from spatial_transformer.coordinates import full_precision
from spatial_transformer.errors import OptionError, ShapeError
from spatial_transformer.localisation.base import LazyIdentityLinear
from spatial_transformer.names import TransformName
from spatial_transformer.options import check_count
from spatial_transformer.transforms import Transform, as_transform


class RecurrentLocalisation(nn.Module):
    """Features of the image go into a recurrent cell, T times; each state gives a theta.

    Args:
        features: A module from the image to features; they are computed once and flattened.
        cell: ``nn.GRUCell``, ``nn.RNNCell``, ``nn.LSTMCell``, or any module (input, state) -> state
            or (output, state), whose output is ``(B, H)``; the first state is None.
        transform: The ``Transform`` whose theta is predicted, or its name.
        steps: T.
        encoder: A module from a glimpse ``(B, C, *size)`` to features, which go into the cell
            beside the image's at the next step; None for no feedback.

    Raises:
        OptionError: If ``steps`` is not a positive whole number, or a part is not a module.
        UnknownNameError: If the transform's name is not registered.

    Note:
        Source: Sonderby et al. 2015, "Recurrent Spatial Transformer Networks"; initialised to the
        identity as there and in the paper's appendix A.3.

    Examples:
        >>> net = RecurrentLocalisation(nn.Flatten(), nn.GRUCell(16, 5), "affine", steps=3)
        >>> net(torch.zeros(2, 1, 4, 4)).shape
        torch.Size([2, 3, 6])
    """

    def __init__(
        self,
        features: nn.Module,
        cell: nn.Module,
        transform: Transform | TransformName,
        steps: int,
        encoder: nn.Module | None = None,
    ) -> None:
        super().__init__()
        for name, part in {"features": features, "cell": cell, "encoder": encoder}.items():
            if not isinstance(part, nn.Module) and (name != "encoder" or part is not None):
                raise OptionError(f"{name} must be a module, got {part!r}")
        transform = as_transform(transform)
        self.steps = check_count("steps", steps)
        self.num_params = transform.num_params
        self.features = features
        self.cell = cell
        self.encoder = encoder
        self.head = LazyIdentityLinear(transform, 1)
        self._identity = transform.identity

    if TYPE_CHECKING:

        def __call__(self, image: Tensor, look: Callable[[Tensor], Tensor] | None = None) -> Tensor:
            """As ``forward``."""

    def forward(self, image: Tensor, look: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Images ``(B, C, *spatial)`` to theta ``(B, T, P)``, float32 even under autocast.

        Args:
            image: ``(B, C, *spatial)``.
            look: theta ``(B, P)`` -> the glimpse ``(B, C, *size)``. With an encoder it is called
                T + 1 times: for the identity, which the first step sees, and for each theta.

        Raises:
            OptionError: If there is an encoder and no ``look``.
            ShapeError: If features do not fit the cell, or its output is not ``(B, H)``.
        """
        features = self.features(image).flatten(1)
        if self.encoder is None:
            look = None
        elif look is None:
            raise OptionError("this localisation network looks at its glimpses: call its layer")
        glimpse = None
        if look is not None:
            start = self._identity().to(image.device).expand(len(image), -1)
            glimpse = look(start)
        state, thetas = None, []
        for _ in range(self.steps):
            output, state = self._step(self._input(features, glimpse), state)
            with full_precision(image.device):
                thetas.append(self.head(output))
            if look is not None:
                glimpse = look(thetas[-1])
        return torch.stack(thetas, dim=1)

    def _input(self, features: Tensor, glimpse: Tensor | None) -> Tensor:
        """The cell's input at a step."""
        if self.encoder is None:
            joint = features
        else:
            joint = torch.cat([features, self.encoder(glimpse).flatten(1)], dim=1)
        width = getattr(self.cell, "input_size", joint.shape[1])
        if width != joint.shape[1]:
            raise ShapeError(
                f"the cell takes {width} numbers, the features give {joint.shape[1]}"
                + ("" if self.encoder is None else ", those of the glimpse included")
            )
        return joint

    def _step(self, joint: Tensor, state: Any) -> tuple[Tensor, Any]:
        """The cell's output ``(B, H)`` and its next state."""
        result = self.cell(joint, state)
        if isinstance(result, Tensor):
            output, state = result, result
        elif isinstance(self.cell, nn.LSTMCell):  # its pair is the state
            output, state = result[0], result
        else:
            output, state = result
        if output.dim() != 2:
            raise ShapeError(f"the cell's output must be (B, H), got {tuple(output.shape)}")
        return output, state
