"""Spatial transformers in series, their transforms composed."""

from collections.abc import Iterable, Sequence
from typing import Unpack

from torch import Tensor, nn

from spatial_transformer.coordinates import check_flag, is_count
from spatial_transformer.errors import OptionError
from spatial_transformer.functional import warp
from spatial_transformer.modules.spatial_transformer import LayerOptions, SpatialTransformer
from spatial_transformer.names import LocalisationName, TransformName
from spatial_transformer.transforms import Transform


class Cascade(SpatialTransformer):
    """Spatial transformers in series; every stage refines the theta of the stages before it.

    Each stage sees the image as warped so far. Every view, the last included, is sampled from the
    original image, so that what one stage moves out of view another can bring back.

    Args:
        stages: Localisation networks, modules or names, one a stage.
        transform: A family with ``compose``, such as the matrix families.
        size: As for ``SpatialTransformer``.
        steps: Run through the stages this many times (one stage, four steps: shared weights).
        resample: Sample every view from the view before it instead, as ``SpatialTransformer``
            layers in series do: views get blurred, and what was moved out of view is lost.
        **options: The others of ``SpatialTransformer``.

    Raises:
        OptionError: If there are no stages, ``steps`` is not a positive whole number, or
            ``resample`` is not True or False.
        TransformError: If the family has no composition and there is more than one step.
        ShapeError: If a stage predicts thetas of another width.

    Note:
        Source: Lin & Lucey 2017 (inverse-compositional STN): theta <- compose(theta,
        stage(warped)). With ``resample`` their compositional STN.
        Coordinates: as ``SpatialTransformer``.

    Examples:
        >>> import torch
        >>> layer = Cascade(["fully_connected"], "affine", steps=2)
        >>> image = torch.rand(2, 1, 8, 8)
        >>> torch.equal(layer(image), image)
        True
    """

    def __init__(
        self,
        stages: Sequence[nn.Module | LocalisationName],
        transform: Transform | TransformName = "affine",
        size: Sequence[int] | int | None = None,
        *,
        steps: int = 1,
        resample: bool = False,
        **options: Unpack[LayerOptions],
    ) -> None:
        listed = isinstance(stages, Iterable) and not isinstance(stages, str)
        networks = list(stages) if listed else []
        if not networks or not is_count(steps):
            raise OptionError(
                f"a cascade needs a list of one or more stages and of steps, got {stages!r} and "
                f"steps={steps!r}"
            )
        check_flag("resample", resample)
        super().__init__(nn.Identity(), transform, size, **options)
        self.localisation: nn.ModuleList = nn.ModuleList(self._localisation(s) for s in networks)
        self.steps = steps
        self.resample = resample
        for stage in self.localisation:
            self._check_width(stage)
        if len(networks) * steps > 1:  # fail now, not at the first batch
            start = self.transform.identity()[None]
            self.transform.refine(start, start)

    def thetas(self, image: Tensor) -> list[Tensor]:
        """The theta ``(B, P)`` after each stage, all of them relative to the original image."""
        return self._run(image)[0]

    def _run(self, image: Tensor) -> tuple[list[Tensor], Tensor, Tensor]:
        """``thetas``, and what the last view is sampled from and by."""
        thetas: list[Tensor] = []
        source, theta = image, self.transform.identity()
        for stage in list(self.localisation) * self.steps:
            view = self._warp(source, theta, None) if thetas else image
            change = stage(view)
            thetas.append(self.transform.refine(thetas[-1], change) if thetas else change)
            source, theta = (view, change) if self.resample else (image, thetas[-1])
        return thetas, source, theta

    def _warp(self, image: Tensor, theta: Tensor, size: Sequence[int] | None) -> Tensor:
        return warp(image, theta, self.transform, size, **self.sampler.options())

    def forward(
        self, image: Tensor, return_theta: bool | None = None
    ) -> Tensor | tuple[Tensor, Tensor]:
        """As ``SpatialTransformer.forward``, with the theta after the last stage."""
        self._check_image(image)
        thetas, source, theta = self._run(image)
        warped = self._warp(source, theta, self.size)
        return (warped, thetas[-1]) if self._wants_theta(return_theta) else warped
