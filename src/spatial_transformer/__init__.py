"""Spatial Transformer Networks for PyTorch.

The public names. Everything else is reached through its own module and may change.
"""

from spatial_transformer.coordinates import grid_from_flow as grid_from_flow
from spatial_transformer.coordinates import grid_from_pixels as grid_from_pixels
from spatial_transformer.errors import SpatialTransformerError as SpatialTransformerError
from spatial_transformer.functional import Sampler as Sampler
from spatial_transformer.functional import make_sampler as make_sampler
from spatial_transformer.functional import sample as sample
from spatial_transformer.functional import warp as warp
from spatial_transformer.pretrained import load_pretrained as load_pretrained
from spatial_transformer.localisation import Localisation as Localisation
from spatial_transformer.localisation import list_localisations as list_localisations
from spatial_transformer.localisation import make_localisation as make_localisation
from spatial_transformer.modules.cascade import Cascade as Cascade
from spatial_transformer.modules.monitor import CollapseMonitor as CollapseMonitor
from spatial_transformer.modules.parameters import (
    localisation_parameters as localisation_parameters,
)
from spatial_transformer.modules.parameters import param_groups as param_groups
from spatial_transformer.modules.recurrent import Recurrent as Recurrent
from spatial_transformer.modules.spatial_transformer import Parallel as Parallel
from spatial_transformer.modules.spatial_transformer import SpatialTransformer as SpatialTransformer
from spatial_transformer.samplers import Kernel as Kernel
from spatial_transformer.samplers import list_samplers as list_samplers
from spatial_transformer.transforms import Affine as Affine
from spatial_transformer.transforms import Attention as Attention
from spatial_transformer.transforms import Bounded as Bounded
from spatial_transformer.transforms import BSplineDeformation as BSplineDeformation
from spatial_transformer.transforms import Compose as Compose
from spatial_transformer.transforms import Diffeomorphic as Diffeomorphic
from spatial_transformer.transforms import Displacement as Displacement
from spatial_transformer.transforms import LinearBasis as LinearBasis
from spatial_transformer.transforms import LogPolar as LogPolar
from spatial_transformer.transforms import PiecewiseAffine as PiecewiseAffine
from spatial_transformer.transforms import PixelAffine as PixelAffine
from spatial_transformer.transforms import Projective as Projective
from spatial_transformer.transforms import Rigid as Rigid
from spatial_transformer.transforms import Similarity as Similarity
from spatial_transformer.transforms import ThinPlateSpline as ThinPlateSpline
from spatial_transformer.transforms import Transform as Transform
from spatial_transformer.transforms import Translation as Translation
from spatial_transformer.transforms import list_transforms as list_transforms
from spatial_transformer.transforms import make_transform as make_transform

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """``spatial_transformer.viz`` without an import of its own; it needs matplotlib."""
    if name == "viz":
        from importlib import import_module

        return import_module("spatial_transformer.viz")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
