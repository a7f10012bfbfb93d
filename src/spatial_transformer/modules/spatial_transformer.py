"""The spatial transformer as a layer."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, Unpack, overload

from torch import Tensor, nn

from spatial_transformer.coordinates import check_size, is_count
from spatial_transformer.errors import OptionError, ShapeError
from spatial_transformer.functional import (
    Fill,
    KernelLike,
    Sampler,
    SamplerOptions,
    check_dims,
    like_layout,
    warp,
)
from spatial_transformer.localisation import LOCALISATIONS
from spatial_transformer.names import BackendName, LocalisationName, PaddingName, TransformName
from spatial_transformer.samplers.check import check_image
from spatial_transformer.transforms import Transform, as_transform


class LayerOptions(SamplerOptions, total=False):
    """The options of ``SpatialTransformer`` by keyword, as ``**options``."""

    return_theta: bool


class SpatialTransformer(nn.Module):
    """Localisation network, grid generator and sampler in one layer, for any place in a network.

    Args:
        localisation: A module from the image to theta ``(B, P)`` or ``(B, N, P)``, or a name of
            ``list_localisations``.
        transform: A ``Transform`` or a name of ``list_transforms``.
        size: Size of the output in pixels; the input's if None.
        kernel: As for ``sample``.
        padding: As for ``sample``. Images that are normalised (say to mean 0) want
            ``padding="border"``, or ``padding="fill"`` with the background's value: zero is not
            black there.
        fill: As for ``sample``.
        align_corners: As for ``sample``.
        antialias: As for ``sample``.
        backend: As for ``sample``.
        return_theta: Return ``(warped, theta)``; may also be given at the call, where type checkers
            see it.

    Raises:
        ShapeError: If ``size`` is not a size, or the localisation network predicts thetas of
            another width.
        OptionError: If an option has an invalid value or contradicts another.
        UnknownNameError: If a name is not registered.
        BackendError: If the named backend is not available.

    Note:
        Source: the paper's section 3 and figure 2.
        Coordinates: the localisation network's theta maps output to input coordinates, normalised.

    Examples:
        >>> import torch
        >>> layer = SpatialTransformer("fully_connected", "affine")
        >>> image = torch.rand(2, 1, 8, 8)
        >>> torch.equal(layer(image), image)  # the identity, until it is trained
        True
    """

    def __init__(
        self,
        localisation: nn.Module | LocalisationName,
        transform: Transform | TransformName = "affine",
        size: Sequence[int] | int | None = None,
        *,
        kernel: KernelLike = "bilinear",
        padding: PaddingName = "zeros",
        fill: Fill = None,
        align_corners: bool = False,
        antialias: bool | int = False,
        backend: BackendName = "auto",
        return_theta: bool = False,
    ) -> None:
        super().__init__()
        self.transform = as_transform(transform)
        self.localisation = self._localisation(localisation)
        self._check_width(self.localisation)
        self.size = None if size is None else check_size(size, self.transform.dims)
        self.sampler = Sampler(
            kernel,
            padding=padding,
            fill=fill,
            align_corners=align_corners,
            antialias=antialias,
            backend=backend,
        )
        self.return_theta = return_theta

    def _check_image(self, image: Tensor) -> None:
        """Check the image before it reaches the localisation network; errors as for ``warp``."""
        check_image(image, integers=True)  # some kernels support them
        check_dims(image, self.transform)

    def _check_width(self, localisation: nn.Module) -> None:
        """Check the width of the thetas that a localisation network says it predicts.

        Raises:
            ShapeError: If it is not the transform's.
        """
        width = getattr(localisation, "num_params", self.transform.num_params)
        if width != self.transform.num_params:
            raise ShapeError(
                f"the localisation network predicts {width} parameters, but transform "
                f"{self.transform.name!r} takes {self.transform.num_params}"
            )

    def _localisation(self, localisation: nn.Module | str) -> nn.Module:
        if isinstance(localisation, str):
            return LOCALISATIONS.make(localisation, transform=self.transform)
        if not isinstance(localisation, nn.Module):
            raise OptionError(f"localisation must be a module or a name, got {localisation!r}")
        return localisation

    def forward(
        self, image: Tensor, return_theta: bool | None = None
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Warp images by the theta that the localisation network predicts for them.

        Args:
            image: ``(B, C, H, W)`` or ``(B, C, D, H, W)``.
            return_theta: Whether to return theta as well; None for the layer's own setting.

        Returns:
            ``(B, C, *size)``, or ``(B, N, C, *size)`` for N transforms; with theta ``(B, P)`` or
            ``(B, N, P)`` if asked for. Errors as for ``warp``.
        """
        self._check_image(image)
        theta = self.localisation(image)
        warped = warp(image, theta, self.transform, self.size, **self.sampler.options())
        return (warped, theta) if self._wants_theta(return_theta) else warped

    if TYPE_CHECKING:

        @overload
        def __call__(self, image: Tensor, return_theta: Literal[False] | None = None) -> Tensor: ...
        @overload
        def __call__(self, image: Tensor, return_theta: Literal[True]) -> tuple[Tensor, Tensor]: ...
        @overload
        def __call__(
            self, image: Tensor, return_theta: bool | None
        ) -> Tensor | tuple[Tensor, Tensor]: ...
        def __call__(
            self, image: Tensor, return_theta: bool | None = None
        ) -> Tensor | tuple[Tensor, Tensor]:
            """As ``forward``."""

    def _wants_theta(self, asked: bool | None) -> bool:
        return self.return_theta if asked is None else asked


class Parallel(SpatialTransformer):
    """N transforms of one image from one localisation network.

    Args:
        localisation: As for ``SpatialTransformer``; a module must predict theta ``(B, N, P)``.
        transform: As for ``SpatialTransformer``.
        size: As for ``SpatialTransformer``.
        count: N.
        stack: Return ``(B, N, C, *size)`` rather than the N outputs concatenated along the
            channels, ``(B, N * C, *size)``.
        **options: The others of ``SpatialTransformer``.

    Raises:
        OptionError: If ``count`` is not a positive whole number.

    Note:
        Source: the paper's section 3.4 and figure 5 (bird parts).

    Examples:
        >>> import torch
        >>> Parallel("fully_connected", "attention", 4, count=2)(torch.rand(3, 1, 8, 8)).shape
        torch.Size([3, 2, 4, 4])
    """

    def __init__(
        self,
        localisation: nn.Module | LocalisationName,
        transform: Transform | TransformName = "affine",
        size: Sequence[int] | int | None = None,
        *,
        count: int,
        stack: bool = False,
        **options: Unpack[LayerOptions],
    ) -> None:
        if not is_count(count):
            raise OptionError(f"count must be a positive number of transforms, got {count!r}")
        self.count = count
        super().__init__(localisation, transform, size, **options)
        self.stack = stack

    def _localisation(self, localisation: nn.Module | str) -> nn.Module:
        if isinstance(localisation, str):
            return LOCALISATIONS.make(localisation, transform=self.transform, count=self.count)
        return super()._localisation(localisation)

    def forward(
        self, image: Tensor, return_theta: bool | None = None
    ) -> Tensor | tuple[Tensor, Tensor]:
        """As ``SpatialTransformer.forward``, with the outputs concatenated or stacked.

        Raises:
            ShapeError: If the localisation network does not predict theta ``(B, N, P)``.
        """
        warped, theta = super().forward(image, return_theta=True)
        if theta.dim() != 3 or theta.shape[1] != self.count:
            raise ShapeError(
                f"the localisation network must predict theta (B, {self.count}, "
                f"{self.transform.num_params}), got {tuple(theta.shape)}"
            )
        if not self.stack:
            warped = like_layout(warped.flatten(1, 2), image)
        return (warped, theta) if self._wants_theta(return_theta) else warped
