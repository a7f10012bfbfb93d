"""Devices without float64, such as Apple's: none is made there unless it was asked for."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import spatial_transformer as stn
from spatial_transformer.errors import SpatialTransformerError

FAMILIES = [n for n in stn.list_transforms() if n not in ("compose", "bounded")]


class NoFloat64(TorchDispatchMode):
    """As a device that has none: the meta device stands for it."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        for tensor in tree_leaves((args, kwargs, out)):
            wide = isinstance(tensor, torch.Tensor) and tensor.dtype == torch.float64
            assert not (wide and tensor.device.type == "meta"), f"{function} has float64"
        return out


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("family", FAMILIES)
def test_transforms(family, dims, dtype):
    try:
        transform = stn.make_transform(family, dims=dims)
    except SpatialTransformerError:
        pytest.skip(f"{family} has no {dims}-D")
    theta = torch.zeros(2, transform.num_params, dtype=dtype, device="meta")
    size = (5, 6, 4)[:dims]
    with NoFloat64():
        assert transform.grid(theta, size).dtype == torch.float32
        points = torch.zeros(2, 7, dims, device="meta")
        assert transform.points(theta, points).shape == (2, 7, dims)
        image = torch.zeros(2, 3, *size, dtype=dtype, device="meta")
        assert stn.warp(image, theta, transform, backend="eager").dtype == dtype
