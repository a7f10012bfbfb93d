"""What the conformance table is made of: every registered name, dimension and property."""

from spatial_transformer.samplers import list_samplers
from spatial_transformer.samplers.padding import PADDINGS
from spatial_transformer.testing import samplers, transforms
from spatial_transformer.transforms import TRANSFORMS, Transform, list_transforms

#: smaller than the defaults, where those take long to differentiate twice
OPTIONS: dict[tuple[str, int], dict[str, object]] = {
    ("thin_plate_spline", 3): {"shape": (2, 2, 3)},
    ("bspline", 3): {"shape": (4, 4, 5)},
    ("displacement", 3): {"shape": (3, 4, 5)},
    ("diffeomorphic", 2): {"shape": (4, 5), "resolution": 24, "steps": 5},
    ("diffeomorphic", 3): {"shape": (4, 4, 4), "resolution": 12, "steps": 4},
    ("pixel_affine", 3): {"shape": (2, 3, 4)},
}


def build(name: str, dims: int) -> Transform:
    more = {"dims": dims} if dims != 2 else {}
    return TRANSFORMS.make(name, **more, **OPTIONS.get((name, dims), {}))


def dims_of(name: str) -> tuple[int, ...]:
    return type(TRANSFORMS.make(name)).supported_dims


TRANSFORM_CASES = [
    (name, dims, prop)
    for name in list_transforms()
    for dims in dims_of(name)
    for prop in transforms.CHECKS
]
SAMPLER_CASES = [
    (name, dims, padding, prop)
    for name in list_samplers()
    for dims in (2, 3)
    for padding in PADDINGS
    for prop in samplers.CHECKS
]
