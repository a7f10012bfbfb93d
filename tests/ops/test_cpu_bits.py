"""The same bits from the C++ backend, whatever it runs on."""

import pytest
import torch
from tests.ops.cpu_cases import case, fill_for, results

import spatial_transformer as stn
from spatial_transformer.ops.cpu import launch, load
from spatial_transformer.samplers.padding import PADDINGS

pytestmark = pytest.mark.skipif(load.LIBRARY is None, reason=f"no C++ backend: {load.WHY}")


@pytest.mark.parametrize("padding", PADDINGS)
def test_the_same_bits_from_run_to_run_and_for_any_number_of_threads(padding):
    image, theta, _ = case((3, 20, (37, 41), (40, 50)))
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2, 3, 2):
            torch.set_num_threads(threads)
            options = {"padding": padding, "fill": fill_for(padding, 20)}
            found.append(results(image, theta, (40, 50), "cpu", **options))
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("out", [(35, 33), (6, 517), (19, 1)])  # rows in a run, and runs in a row
@pytest.mark.parametrize("size", [(29, 31), (300, 301)])  # padded copies; in place
@pytest.mark.parametrize("channels", [3, 9])  # vectors along pixels; along channels
def test_the_same_bits_from_every_instruction_set(monkeypatch, channels, size, out, dtype, padding):
    image, theta, _ = case((2, channels, size, out), dtype)
    found = []
    for level in range(load.LIBRARY.stn_level() + 1):
        monkeypatch.setattr(launch, "LEVEL", level)
        options = {"padding": padding, "fill": fill_for(padding, channels)}
        found.append(results(image, theta, out, "cpu", **options))
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_identity_is_bit_exact():
    for size in [(1, 1), (7, 3), (28, 28), (301, 299)]:
        image = torch.randn(2, 3, *size)
        theta = stn.Affine().identity().repeat(2, 1)
        for padding in PADDINGS:
            for align_corners in (False, True):
                options = {"padding": padding, "fill": fill_for(padding, 3)}
                out = stn.warp(
                    image, theta, "affine", align_corners=align_corners, backend="cpu", **options
                )
                assert torch.equal(out, image)


@pytest.mark.parametrize("kernel", ["bilinear", "bicubic"])
@pytest.mark.parametrize("channels", [1, 8])
def test_the_same_bits_where_a_vector_is_partly_off_a_filled_image(monkeypatch, channels, kernel):
    image = torch.rand(1, channels, 300, 300)
    if channels == 8:
        image = image.contiguous(memory_format=torch.channels_last)
    theta = torch.tensor([[1.1, 0.31, 0.2, -0.27, 1.2, 0.1]])
    options = {"kernel": kernel, "padding": "fill", "fill": 0.1}
    found = []
    for level in range(load.LIBRARY.stn_level() + 1):
        monkeypatch.setattr(launch, "LEVEL", level)
        found.append(results(image, theta, (24, 24), "cpu", **options))
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))
