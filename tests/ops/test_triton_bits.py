"""Bits of the Triton backend: exact copies, and the same sums in any order."""

import math
from functools import partial

import pytest
import torch
from tests.ops.triton_cases import (
    DEVICE,
    KERNELS,
    both,
    fill_for,
    forward,
    launch,
    matrices,
    random,
)

from spatial_transformer.samplers.padding import PADDINGS
from spatial_transformer.transforms.matrix import grid_from_matrix

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("interpreted")]


@pytest.mark.parametrize("padding", PADDINGS)
def test_identity_is_bit_exact(padding):
    sizes = {"zeros": (17, 29), "wrap": (1, 1), "mirror": (1, 60)}
    size = sizes.get(padding, (7, 3))
    image = torch.randn(1, 2, *size).to(DEVICE)
    matrix = torch.eye(3)[None].to(DEVICE)
    for align_corners in (False, True):
        options = ("bilinear", padding, fill_for(padding, image), align_corners)
        for maps in (matrix[:, :2], matrix):
            assert torch.equal(forward(launch, image, maps, size, *options, grid=False), image)
    grid = grid_from_matrix(matrix, size, align_corners)
    assert torch.equal(forward(launch, image, grid, size, *options, grid=True), image)
    if padding != "zeros":  # that one is large
        cubic = forward(launch, image, matrix[:, :2], size, "bicubic", *options[1:], grid=False)
        assert torch.equal(cubic, image)


def test_identity_of_volumes_and_half_types_is_bit_exact():
    matrix = torch.eye(4)[None, :3].to(DEVICE)
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        image = torch.randn(1, 2, 2, 5, 6).to(DEVICE, dtype)
        out = forward(
            launch, image, matrix, (2, 5, 6), "bilinear", "zeros", None, False, grid=False
        )
        assert torch.equal(out, image)


@pytest.mark.usefixtures("deterministic")
class TestDeterministic:
    @pytest.mark.parametrize("kernel", KERNELS)
    def test_equals_eager(self, kernel):
        both(random(1, 2, 5, 4), matrices(2, 2), (4, 6), kernel, "border", None, False)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_the_same_bits_in_any_order(self, replanned, dtype):
        """Programs of other tiles add in another order; torch's floating point sums would tell."""
        image = random(1, 2, 6, 5, dtype=dtype)
        maps = matrices(2, 2, spread=0.3, dtype=dtype)
        weight = random(2, 2, 8, 6, dtype=dtype) - 0.5
        options = ("bilinear", "border", None, False)
        more = {"grid": False, "needs_image_grad": True, "needs_map_grad": False}
        real, found = launch.tile_config, []
        for elements in (256, 16):
            cut = partial(lambda n, b, c, s, e, *rest: real(b, c, s, n, *rest), elements)
            replanned.setattr(launch, "tile_config", cut)
            launch.plan.cache_clear()
            found.append(launch.backward(weight, image, maps, *options, **more)[0])
        assert found[0].dtype == dtype
        assert all(torch.equal(found[0], other) for other in found[1:])

    def test_small_gradients_and_ones_that_are_not_finite(self):
        image, maps = random(2, 1, 4, 4, dtype=torch.float32), matrices(2, 2, dtype=torch.float32)
        options = ("bilinear", "wrap", None, False)
        more = {"grid": False, "needs_image_grad": True, "needs_map_grad": False}
        weight = 1e-30 * torch.randn(2, 1, 4, 4).to(DEVICE)
        (small, _) = launch.backward(weight, image, maps, *options, **more)
        (large, _) = launch.backward(1e30 * weight, image, maps, *options, **more)
        torch.testing.assert_close(1e30 * small, large, rtol=1e-5, atol=1e-6)
        weight[1, 0, 0, 0] = math.inf
        (bad, _) = launch.backward(weight, image, maps, *options, **more)
        assert torch.equal(bad[0], small[0])
        assert bad[1].isnan().all()
        (none, _) = launch.backward(0 * small, image, maps, *options, **more)
        assert (none == 0).all()
