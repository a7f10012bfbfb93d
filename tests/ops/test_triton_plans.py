"""How the Triton backend cuts a call into programs."""

import math

import pytest
from tests.ops.triton_cases import (
    ENOUGH,
    both,
    fill_for,
    launch,
    matrices,
    random,
)

from spatial_transformer.transforms.matrix import grid_from_matrix

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("interpreted")]


def test_channels_are_shared_out_over_programs(replanned):
    """However the work is cut, it is the same."""
    image, maps = random(1, 5, 4, 5), matrices(1, 2)
    for enough, chunks in ((1, (1, 5)), (3, (3, 2)), (ENOUGH, (5, 1))):
        replanned.setattr(launch, "ENOUGH", enough)
        launch.plan.cache_clear()
        launch.tile_config.cache_clear()
        both(image, maps, (4, 9), "bilinear", "border", None, False)
        cut = launch.tile_config(1, 5, (4, 9), 512, False, False)
        assert (cut.chunks, cut.chunk, cut.block_c) == (*chunks, 1)


def test_cuts_cover_every_pixel_and_channel(replanned):
    replanned.setattr(launch, "ENOUGH", ENOUGH)
    for channels in (1, 3, 16, 48, 100):
        for size in ((1, 1), (5, 123), (28, 28), (7, 33, 500)):
            for along in (False, True):
                cut = launch.tile_config(3, channels, size, 512, along, False)
                tiles = cut.programs // cut.chunks
                assert cut.chunks * cut.chunk * cut.block_c >= channels
                assert (cut.chunks - 1) * cut.chunk * cut.block_c < channels
                height, width = size[-2:]
                rows, columns = -(-height // cut.tile_h), -(-width // cut.tile_w)
                assert tiles == 3 * math.prod(size[:-2]) * rows * columns


def test_offsets_of_64_bits(replanned):
    """As for an item of 2^31 entries, which is too large for a test."""
    replanned.setattr(launch, "_extent", lambda form: 2**31)
    image = random(1, 2, 3, 4)
    fill = fill_for("fill", image)
    both(image, matrices(2, 2), (3, 2), "bilinear", "fill", fill, False)
    grid = grid_from_matrix(matrices(1, 2), (3, 2), False)
    both(image, grid, (3, 2), "bilinear", "fill", fill, False, grid=True)
