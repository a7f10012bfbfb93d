"""Checkers that your own transforms and kernels can run against, in your own tests."""

from spatial_transformer.testing.samplers import check_sampler
from spatial_transformer.testing.transforms import check_transform

__all__ = ["check_sampler", "check_transform"]
