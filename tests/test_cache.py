"""What is kept to be used again is bounded by bytes, all of it together."""

import threading

import pytest
import torch

import spatial_transformer as stn
from spatial_transformer.cache import BASES, ByteCache
from spatial_transformer.transforms import ThinPlateSpline


@pytest.mark.slow
def test_bases_of_many_sizes_stay_within_their_bound():
    BASES.clear()
    splines = [ThinPlateSpline((8, 8)), ThinPlateSpline((8, 8))]
    for n in range(500, 513, 2):
        for spline in splines:
            spline.grid(spline.identity()[None], (n, n))
            assert BASES.bytes <= BASES.limit == 128 * 2**20
    assert BASES.keys()  # the newest of them
    BASES.clear()


def test_a_basis_is_used_again_and_copies_and_pickles_do_not_hold_it():
    BASES.clear()
    spline = ThinPlateSpline()
    grid = spline.grid(spline.identity()[None], (6, 7))
    before = BASES.keys()
    assert torch.equal(spline.grid(spline.identity()[None], (6, 7)), grid)
    assert len(before) == 1
    assert BASES.keys() == before


def test_the_newest_are_kept_and_what_is_too_large_is_not():
    cache = ByteCache(limit=100)
    for n in range(5):
        cache.get(n, lambda n=n: (torch.full((10,), float(n)),))
    assert (cache.keys(), cache.bytes) == ((3, 4), 80)
    assert cache.get(3, lambda: None)[0][0] == 3
    assert len(cache.get("large", lambda: (torch.zeros(1000),))[0]) == 1000
    assert cache.keys() == (4, 3)


def test_threads_share_it():
    cache = ByteCache(limit=400)

    def work():
        for k in range(300):
            (value,) = cache.get(k % 7, lambda k=k: (torch.full((20,), float(k % 7)),))
            assert value[0] == k % 7

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 0 < cache.bytes <= 400


def test_prefilters_keep_nothing():
    before = BASES.keys()
    stn.warp(torch.rand(1, 1, 300, 300), torch.zeros(1, 2), "translation", kernel="bspline3")
    assert BASES.keys() == before
