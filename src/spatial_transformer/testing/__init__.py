"""Checkers of transforms and kernels, for the tests of your own."""

from spatial_transformer.testing.samplers import check_sampler
from spatial_transformer.testing.transforms import check_transform

__all__ = ["check_sampler", "check_transform"]
