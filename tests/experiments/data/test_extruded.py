"""Extruded digits: a solid of known size, place and turn."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from spatial_transformer.experiments.data import extruded
from spatial_transformer.experiments.data.catalogue import make_dataset
from spatial_transformer.experiments.data.extruded import Extruded, rotation


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def fixed(monkeypatch, **values):
    """Let the draws be these, in their order: x, y, z angle, scale, place."""
    queue = [values.get(n, 0.0) for n in ("x", "y", "z")] + [values.get("scale", 1.0)]
    queue += [values.get(n, 0.0) for n in ("px", "py", "pz")]
    draws = iter(queue)
    monkeypatch.setattr(extruded, "uniform", lambda g, n, a, b: torch.full((n,), next(draws)))


def test_rotations_are_scipys():
    angles = torch.rand(5, 3, generator=generator()) * 2 - 1
    ours = rotation(*angles.unbind(1))
    for one, (x, y, z) in zip(ours, angles.tolist(), strict=True):
        np.testing.assert_allclose(
            one, Rotation.from_euler("zyx", [z, y, x]).as_matrix(), atol=1e-6
        )


def test_unturned_it_is_the_digit_in_every_slice_of_a_slab(monkeypatch):
    fixed(monkeypatch)
    digit = torch.rand(1, 1, 28, 28, generator=generator())
    volume = Extruded()(digit, generator())
    assert volume.shape == (1, 1, 60, 60, 60)
    inner = volume[0, 0, 17:43]  # 28 slices less one at each soft end
    torch.testing.assert_close(
        inner[:, 16:44, 16:44], digit[0].expand(26, -1, -1), rtol=0, atol=1e-5
    )
    assert volume[0, 0, :15].abs().max() == volume[0, 0, 45:].abs().max() == 0
    assert volume[0, 0, :, :15].abs().max() == 0


@pytest.mark.parametrize("axis", ["x", "y", "z"])
def test_a_quarter_turn_about_each_axis(monkeypatch, axis):
    digit = torch.rand(1, 1, 28, 28, generator=generator())
    fixed(monkeypatch)
    straight = Extruded()(digit, generator())
    fixed(monkeypatch, **{axis: math.pi / 2})
    turned = Extruded()(digit, generator())
    # (D, H, W) is (z, y, x); a positive turn goes from the first axis of the plane to the second
    plane = {"x": (-2, -3), "y": (-3, -1), "z": (-1, -2)}[axis]
    wanted = torch.rot90(straight, 1, plane)
    torch.testing.assert_close(turned, wanted, rtol=0, atol=1e-4)


def test_moves_and_sizes(monkeypatch):
    digit = torch.ones(1, 1, 28, 28)
    fixed(monkeypatch, px=1.0, py=-1.0, scale=0.7)
    volume = Extruded()(digit, generator())[0, 0]
    z, y, x = torch.where(volume > 0.5)
    assert (x.max(), y.min()) == (59, 0)  # against two walls, and in the middle of the third
    assert abs(int(z.max()) + int(z.min()) - 59) <= 1
    assert int(x.max() - x.min()) in (18, 19, 20)  # 0.7 * 28
    small = make_dataset("volume30")
    assert small.in_shape == (1, 30, 30, 30)


def test_it_is_a_function_of_the_generator_whatever_the_block(monkeypatch):
    digits = torch.rand(5, 1, 28, 28)
    a = Extruded(12)(digits, generator(1))
    assert not torch.equal(a, Extruded(12)(digits, generator(2)))
    monkeypatch.setattr(extruded, "BLOCK", 2)
    torch.testing.assert_close(a, Extruded(12)(digits, generator(1)), rtol=0, atol=1e-6)
