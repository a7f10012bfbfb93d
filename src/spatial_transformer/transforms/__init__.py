"""Transforms, theta -> sampling grid: one family a file, and their registry."""

from concurrent.futures import ThreadPoolExecutor
from typing import cast

from spatial_transformer.errors import OptionError
from spatial_transformer.names import TransformName
from spatial_transformer.registry import Registry
from spatial_transformer.transforms.affine import Affine as Affine
from spatial_transformer.transforms.attention import Attention as Attention
from spatial_transformer.transforms.base import Transform as Transform
from spatial_transformer.transforms.bounded import Bounded as Bounded
from spatial_transformer.transforms.bspline import BSplineDeformation as BSplineDeformation
from spatial_transformer.transforms.compose import Compose as Compose
from spatial_transformer.transforms.diffeomorphic import Diffeomorphic as Diffeomorphic
from spatial_transformer.transforms.displacement import Displacement as Displacement
from spatial_transformer.transforms.linear_basis import LinearBasis as LinearBasis
from spatial_transformer.transforms.log_polar import LogPolar as LogPolar
from spatial_transformer.transforms.piecewise_affine import PiecewiseAffine as PiecewiseAffine
from spatial_transformer.transforms.pixel_affine import PixelAffine as PixelAffine
from spatial_transformer.transforms.projective import Projective as Projective
from spatial_transformer.transforms.rigid import Rigid as Rigid
from spatial_transformer.transforms.similarity import Similarity as Similarity
from spatial_transformer.transforms.thin_plate_spline import ThinPlateSpline as ThinPlateSpline
from spatial_transformer.transforms.translation import Translation as Translation

TRANSFORMS: Registry[Transform] = Registry("transform")
for _family in (
    *(Translation, Attention, Rigid, Similarity, Affine, Projective),
    *(ThinPlateSpline, PiecewiseAffine, BSplineDeformation, LinearBasis),
    *(Displacement, Diffeomorphic, PixelAffine, LogPolar),
):
    TRANSFORMS.add(_family.name, _family)
# Bounded and Compose need other transforms, so they have no registered name


def make_transform(name: TransformName, **options: object) -> Transform:
    """A transform by its registered name.

    Args:
        name: A name of ``list_transforms``.
        **options: Arguments of its class.

    Raises:
        UnknownNameError: If the name is not registered; the message lists the names.
        OptionError: If an option does not exist or has an invalid value.

    Examples:
        >>> make_transform("attention", fixed={"s": 0.5}).num_params
        2
    """
    return TRANSFORMS.make(name, **options)


def list_transforms() -> tuple[TransformName, ...]:
    """The names that ``make_transform`` knows."""
    return cast("tuple[TransformName, ...]", TRANSFORMS.names())


def as_transform(transform: Transform | str) -> Transform:
    """A transform given as itself or by name.

    Raises:
        UnknownNameError: If the name is not registered.
        OptionError: If it is neither a ``Transform`` nor a name.
    """
    if isinstance(transform, str):
        return TRANSFORMS.make(transform)
    if not isinstance(transform, Transform):
        raise OptionError(f"transform must be a Transform or a name, got {transform!r}")
    return transform


def _make_all() -> dict[str, Transform]:
    return {name: TRANSFORMS.make(name) for name in list_transforms()}


#: instances by name, for calls that pass a name: making a module takes longer than a small warp.
#: Made in a thread of its own, unaffected by tracing, device contexts and inference mode.
with ThreadPoolExecutor(1) as _pool:
    SHARED: dict[str, Transform] = _pool.submit(_make_all).result()
