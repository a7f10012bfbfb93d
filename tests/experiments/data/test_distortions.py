"""The distortions against SciPy and OpenCV, which share none of our code, and their statistics."""

import math

import cv2
import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.interpolate import RBFInterpolator

from spatial_transformer.errors import OptionError, ShapeError
from spatial_transformer.experiments.data import cluttered, elastic, projected, rotated, rts
from spatial_transformer.experiments.data.distortion import similarity_theta
from spatial_transformer.experiments.data.stream import (
    DISTORTIONS,
    Digits,
    Stream,
    fixed_set,
    generator,
    make_distortion,
    split,
)  # fmt: skip

NAMES = DISTORTIONS.names()


def blobs(count=6, seed=0):
    """Smooth images of 28x28 in [0, 1] with nothing at the rim, like digits."""
    noise = np.random.default_rng(seed).random((count, 20, 20))
    smooth = np.stack([ndimage.gaussian_filter(x, 1.5) for x in noise])
    smooth = (smooth - smooth.min()) / (smooth.max() - smooth.min())
    return torch.from_numpy(np.pad(smooth, ((0, 0), (4, 4), (4, 4))))


def digits(count=64):
    images = (blobs(count) * 255).to(torch.uint8)
    return Digits(images, torch.arange(count) % 10)


def draws(monkeypatch, module, name):
    """Record what a distortion draws with ``name`` from its module."""
    seen = []
    real = getattr(module, name)

    def spy(*args, **kwargs):
        seen.append(real(*args, **kwargs))
        return seen[-1]

    monkeypatch.setattr(module, name, spy)
    return seen


def read_at(image, y, x):
    """SciPy's bilinear value at pixel coordinates."""
    return ndimage.map_coordinates(image, [y, x], order=1, mode="grid-constant", prefilter=False)


def output_pixels(size):
    """(y, x) of the output's pixels from its centre."""
    u = np.arange(size) - (size - 1) / 2
    return np.meshgrid(u, u, indexing="ij")


@pytest.mark.parametrize(
    ("module", "cls"), [(rotated, rotated.Rotated), (rts, rts.RotatedTranslatedScaled)]
)
def test_rotations_equal_scipys(monkeypatch, module, cls):
    seen = draws(monkeypatch, module, "uniform")
    images = blobs()
    found = cls()(images[:, None], generator("cpu", 1)).numpy()
    angle, scale = seen[0].double(), torch.ones(6)
    x = y = torch.zeros(6)
    if cls is not rotated.Rotated:
        scale = seen[1].double()
        room = 21 - 14 * scale
        x, y = seen[2] * room, seen[3] * room
    v, u = output_pixels(cls.size)
    for b in range(6):
        # turned clockwise on the screen by angle: the inverse reads
        c, s = math.cos(angle[b]), math.sin(angle[b])
        dx, dy = u - x[b].item(), v - y[b].item()
        source_x = (c * dx + s * dy) / scale[b].item() + 13.5
        source_y = (-s * dx + c * dy) / scale[b].item() + 13.5
        wanted = read_at(images[b].numpy(), source_y, source_x)
        np.testing.assert_allclose(found[b, 0], wanted, rtol=0, atol=2e-5)


def test_rts_equals_opencv():
    images = blobs().float()
    angle, scale = torch.tensor(0.5), torch.tensor(0.8)
    x, y = torch.tensor(3.0), torch.tensor(-5.0)
    theta = similarity_theta(angle, scale, x, y, 42)[None]
    import spatial_transformer as stn

    found = stn.warp(images[:1, None], theta, "affine", 42)[0, 0].numpy()
    # OpenCV takes the forward matrix: source pixel -> output pixel, pixel centres at integers
    c, s = 0.8 * math.cos(0.5), 0.8 * math.sin(0.5)
    matrix = np.array(
        [[c, -s, 20.5 + 3 - c * 13.5 + s * 13.5], [s, c, 20.5 - 5 - s * 13.5 - c * 13.5]]
    )
    wanted = cv2.warpAffine(images[0].numpy(), matrix, (42, 42), flags=cv2.INTER_LINEAR)
    # OpenCV rounds coordinates to 1/32 pixel in some builds
    assert np.abs(found - wanted).max() < 0.02


def test_projection_equals_opencvs_homography(monkeypatch):
    uniforms, normals = (
        draws(monkeypatch, projected, "uniform"),
        draws(monkeypatch, projected, "normal"),
    )
    images = blobs()
    found = projected.Projected()(images[:, None], generator("cpu", 2)).numpy()
    corners = np.array([[-14, -14], [14, -14], [-14, 14], [14, 14]], np.float32)
    for b in range(6):
        # along the diagonals, as far as was drawn
        amounts = normals[0][b].numpy()[:, None]
        moves = amounts * corners / np.linalg.norm(corners, axis=1, keepdims=True)
        target = corners * uniforms[0][b].item() + moves
        homography = cv2.getPerspectiveTransform(target.astype(np.float32), corners)
        v, u = output_pixels(28)
        p = np.einsum("ij,j...->i...", homography, np.stack([u, v, np.ones_like(u)]))
        depth = np.where(p[2] * np.sign(homography[2, 2]) > 0, p[2], np.nan)
        wanted = read_at(
            images[b].numpy(),
            np.nan_to_num(p[1] / depth + 13.5, nan=-99),
            np.nan_to_num(p[0] / depth + 13.5, nan=-99),
        )
        np.testing.assert_allclose(found[b, 0], wanted, rtol=0, atol=1e-3)


def test_elastic_equals_scipys_spline(monkeypatch):
    uniforms, normals = (
        draws(monkeypatch, elastic, "uniform"),
        draws(monkeypatch, elastic, "normal"),
    )
    images = blobs()
    found = elastic.Elastic()(images[:, None], generator("cpu", 3)).numpy()
    u = np.linspace(-14, 14, 4)
    y, x = np.meshgrid(u, u, indexing="ij")
    control = np.stack([x.ravel(), y.ravel()], -1)
    v, u = output_pixels(28)
    points = np.stack([u.ravel(), v.ravel()], -1)
    for b in range(6):
        source = (control + normals[0][b].numpy()) / uniforms[0][b].item()
        at = RBFInterpolator(control, source, kernel="thin_plate_spline")(points) + 13.5
        wanted = read_at(images[b].numpy(), at[:, 1], at[:, 0]).reshape(28, 28)
        np.testing.assert_allclose(found[b, 0], wanted, rtol=0, atol=1e-4)


def test_clutter_is_the_digit_and_six_patches_of_others(monkeypatch):
    images = blobs(8)
    monkeypatch.setattr(cluttered.TranslatedCluttered, "patches", 0)
    bare = cluttered.TranslatedCluttered()(images[:, None], generator("cpu", 4))
    for b in range(8):  # the digit, whole, once
        rows, columns = bare[b, 0].nonzero().unbind(1)
        top, left = rows.min() - 4, columns.min() - 4
        assert torch.equal(bare[b, 0, top : top + 28, left : left + 28], images[b])
        assert bare[b].sum() == pytest.approx(images[b].sum().item())
    monkeypatch.undo()
    full = cluttered.TranslatedCluttered()(images[:, None], generator("cpu", 4))
    assert full.shape == (8, 1, 60, 60)
    assert (full >= bare).all()  # the same places for the digit; nothing of it is taken away
    changed = (full > bare).flatten(1).sum(1)
    assert (changed <= 6 * 36).all()
    assert changed.sum() > 0


@pytest.mark.parametrize("name", NAMES)
def test_seeded_bounded_and_sized(name):
    distortion = make_distortion(name)
    images = blobs(16).float()[:, None]
    a, b = (distortion(images, generator("cpu", 5)) for _ in range(2))
    other = distortion(images, generator("cpu", 6))
    assert a.shape == (16, 1, distortion.size, distortion.size)
    assert torch.equal(a, b)
    assert not torch.equal(a, other)
    assert a.min() >= 0
    assert a.max() <= 1
    assert distortion(images[:1], generator("cpu", 5)).shape[0] == 1


def test_the_draws_have_the_papers_ranges(monkeypatch):
    seen = draws(monkeypatch, rts, "uniform")
    images = torch.zeros(4000, 1, 28, 28)
    rts.RotatedTranslatedScaled()(images, generator("cpu", 7))
    for values, low, high in (
        (seen[0], -math.pi / 4, math.pi / 4),
        (seen[1], 0.7, 1.2),
        (seen[2], -1, 1),
    ):
        assert low <= values.min() < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < values.max() <= high
        assert values.mean() == pytest.approx((low + high) / 2, abs=0.03 * (high - low))
    noise = draws(monkeypatch, elastic, "normal")
    elastic.Elastic()(images, generator("cpu", 8))
    assert noise[0].std() == pytest.approx(1.5, rel=0.02)
    # in pixels of the image, however small the digit is
    asked, points = [], elastic.Elastic().spline.control_points.float().flatten()
    monkeypatch.setattr(elastic, "uniform", lambda *args: torch.full((4000,), 0.75))
    monkeypatch.setattr(elastic, "warp", lambda image, theta, *rest: asked.append(theta))
    elastic.Elastic()(images, generator("cpu", 8))
    assert (14 * (0.75 * asked[0] - points)).std() == pytest.approx(1.5, rel=0.02)
    noise = draws(monkeypatch, projected, "normal")
    projected.Projected()(images, generator("cpu", 9))
    assert noise[0].std() == pytest.approx(5.0, rel=0.02)


class TestStream:
    def test_batch_k_is_a_function_of_the_seed_and_k(self):
        a, b = (Stream(digits(), make_distortion("rts"), 16, seed=1) for _ in range(2))
        first = [a.batch(k) for k in range(6)]
        again = b.batch(5)
        assert torch.equal(first[5][0], again[0])
        assert torch.equal(first[5][1], again[1])
        same = Stream(digits(), make_distortion("rts"), 16, seed=np.int64(1)).batch(5)
        assert torch.equal(same[0], again[0])
        other = Stream(digits(), make_distortion("rts"), 16, seed=2).batch(5)
        assert not torch.equal(other[0], again[0])

    def test_an_epoch_visits_every_digit_once_and_the_next_anew(self):
        d = Digits(digits().images, torch.arange(64))
        stream = Stream(d, make_distortion("r"), 16, seed=0)
        assert stream.order.batches_per_epoch == 4
        epochs = [torch.cat([stream.batch(4 * e + k)[1] for k in range(4)]) for e in (0, 1)]
        for labels in epochs:
            assert torch.equal(labels.sort().values, torch.arange(64))
        assert not torch.equal(*epochs)

    def test_validation_digits_are_never_trained_on(self):
        d = Digits(digits().images, torch.arange(64))
        train, held = split(d, 10)
        assert len(held) == 10
        assert sorted([*train.labels.tolist(), *held.labels.tolist()]) == list(range(64))
        assert torch.equal(split(d, 10)[1].labels, held.labels)

    def test_fixed_sets_are_fixed(self):
        for name in NAMES:
            a = fixed_set(digits(), make_distortion(name), seed=3, block=20)
            b = fixed_set(digits(), make_distortion(name), seed=3, block=20)
            assert torch.equal(a[0], b[0])
            assert len(a[0]) == len(a[1]) == 64
            assert not torch.equal(a[0], fixed_set(digits(), make_distortion(name), 4, 20)[0])

    def test_bad_options_are_named(self):
        with pytest.raises(OptionError, match=r"batch_size must be in 1..64, got 65"):
            Stream(digits(), make_distortion("r"), 65, 0)
        with pytest.raises(OptionError, match="does not leave any of 64"):
            split(digits(), 64)
        with pytest.raises(OptionError, match="unknown data set 'rst'. Did you mean"):
            make_distortion("rst")
        with pytest.raises(ShapeError, match=r"images \(N, 28, 28\)"):
            Digits(torch.zeros(3, 28, 28), torch.zeros(2))
