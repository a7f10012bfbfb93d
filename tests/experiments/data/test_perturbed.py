"""Perturbed digits against OpenCV's homographies and SciPy's interpolation."""

import cv2
import numpy as np
import torch
from scipy import ndimage

from spatial_transformer.experiments.data.motion import move
from spatial_transformer.experiments.data.perturbed import Perturbed, perturbed
from spatial_transformer.experiments.data.stream import generator

CORNERS = np.array([[-14, -14], [14, -14], [-14, 14], [14, 14]], np.float32)


def smooth(count):
    noise = np.random.default_rng(0).random((count, 28, 28))
    blurred = np.stack([ndimage.gaussian_filter(x, 1.5) for x in noise])
    return (blurred - blurred.min()) / (blurred.max() - blurred.min())


def test_its_homographies_are_opencvs():
    moves = 3.5 * torch.randn(40, 4, 2, generator=generator("cpu", 1))
    theta = perturbed(moves.double()).numpy()
    for row, moved in zip(theta, moves.numpy(), strict=True):
        wanted = cv2.getPerspectiveTransform(CORNERS, CORNERS + moved)
        scale = np.diag([1 / 14, 1 / 14, 1])  # pixels from the centre -> [-1, 1]
        wanted = scale @ wanted @ np.linalg.inv(scale)
        wanted = (wanted / wanted[2, 2]).ravel()[:8]
        np.testing.assert_allclose(row, wanted, rtol=2e-4, atol=2e-4)


def test_its_images_are_scipys(monkeypatch):
    drawn = []
    real = torch.randn

    def spy(*args, **kwargs):
        drawn.append(real(*args, **kwargs))
        return drawn[-1]

    monkeypatch.setattr(torch, "randn", spy)
    images = smooth(8)
    ours = Perturbed()(torch.from_numpy(images)[:, None], generator("cpu", 2))[:, 0].numpy()
    corners, common = (3.5 * d.numpy() for d in drawn)
    rows, columns = np.meshgrid(np.arange(28.0), np.arange(28.0), indexing="ij")
    u, v = columns - 13.5, rows - 13.5
    for b, image in enumerate(images):
        matrix = cv2.getPerspectiveTransform(CORNERS, CORNERS + corners[b] + common[b])
        x, y, depth = np.einsum("ij,j...->i...", matrix, np.stack([u, v, np.ones_like(u)]))
        behind = depth * np.sign(matrix[2, 2]) <= 0
        place = [np.where(behind, -99, c / depth + 13.5) for c in (y, x)]
        wanted = ndimage.map_coordinates(image, place, order=1, mode="grid-constant")
        np.testing.assert_allclose(ours[b], wanted, rtol=0, atol=2e-3)


def test_corners_move_by_an_eighth_of_the_width_apart_and_together(monkeypatch):
    seen = []
    module = "spatial_transformer.experiments.data.perturbed"
    monkeypatch.setattr(f"{module}.warp", lambda image, theta, *rest: image)
    monkeypatch.setattr(f"{module}.perturbed", seen.append)
    Perturbed()(torch.zeros(20_000, 1, 28, 28), generator("cpu", 3))
    moves = seen[0].flatten(1)  # x and y of the corners in turn
    wanted = 3.5**2 * (torch.eye(8) + torch.eye(2).repeat(4, 4))
    torch.testing.assert_close(moves.T.cov(), wanted, rtol=0, atol=0.5)
    assert moves.mean(0).abs().max() < 0.15


def test_they_move_smoothly_and_periodically_in_films():
    digits = torch.from_numpy(smooth(5)[:, None]).float()
    start, soon, end = (move("perturbed", digits, t) for t in (0.0, 0.001, 1.0))
    torch.testing.assert_close(start, end, rtol=0, atol=1e-3)
    assert 0 < (soon - start).abs().max() < 0.1
