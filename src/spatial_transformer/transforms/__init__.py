"""theta -> grid: one family a file, and the registry that names them."""

from spatial_transformer.registry import Registry
from spatial_transformer.transforms.affine import Affine
from spatial_transformer.transforms.attention import Attention
from spatial_transformer.transforms.base import Transform
from spatial_transformer.transforms.projective import Projective
from spatial_transformer.transforms.similarity import Similarity
from spatial_transformer.transforms.thin_plate_spline import ThinPlateSpline
from spatial_transformer.transforms.translation import Translation

TRANSFORMS: Registry[Transform] = Registry("transform")
for _family in (Translation, Attention, Similarity, Affine, Projective, ThinPlateSpline):
    TRANSFORMS.add(_family.name, _family)


def make_transform(name: str, **options: object) -> Transform:
    """A transform by its registered name.

    Raises: UnknownNameError (listing the names), OptionError.

    >>> make_transform("attention", fixed={"s": 0.5}).num_params
    2
    """
    return TRANSFORMS.make(name, **options)


def list_transforms() -> tuple[str, ...]:
    """The names that :func:`make_transform` knows."""
    return TRANSFORMS.names()


def as_transform(transform: Transform | str) -> Transform:
    """A transform given as itself or by name."""
    return make_transform(transform) if isinstance(transform, str) else transform
