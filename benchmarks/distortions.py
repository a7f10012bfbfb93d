"""RTS digits per second: our generator against OpenCV and torch's own operators.

All three make the same images, 28x28 -> 42x42, from the same draws (checked first). The generator
is timed whole: taking uint8 digits, drawing, warping.

    python -m benchmarks.distortions            writes results/benchmarks/distortions.json
"""

import math
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.timing import THREADS, alternate, save, set_threads, warn_if_busy
from spatial_transformer.experiments.data.distortion import HALF, similarity_theta, uniform
from spatial_transformer.experiments.data.rts import RotatedTranslatedScaled
from spatial_transformer.experiments.data.stream import Digits, Stream, generator

BATCH = 256
SIZE = RotatedTranslatedScaled.size


def draw(source: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What RTS draws, in its order."""
    angle = uniform(source, BATCH, -math.pi / 4, math.pi / 4)
    scale = uniform(source, BATCH, 0.7, 1.2)
    room = SIZE / 2 - HALF * scale
    return angle, scale, room * uniform(source, BATCH, -1, 1), room * uniform(source, BATCH, -1, 1)


def with_torch(images: Tensor, source: torch.Generator) -> Tensor:
    theta = similarity_theta(*draw(source), SIZE).unflatten(1, (2, 3))
    grid = F.affine_grid(theta, [len(images), 1, SIZE, SIZE], align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


def with_opencv(images: np.ndarray, source: torch.Generator) -> np.ndarray:
    angle, scale, x, y = (t.numpy() for t in draw(source))
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    centre, out = 13.5, (SIZE - 1) / 2
    moved_x, moved_y = out + x - (c - s) * centre, out + y - (s + c) * centre
    matrices = np.stack([c, -s, moved_x, s, c, moved_y], 1).reshape(-1, 2, 3).astype(np.float64)
    result = np.empty((len(images), SIZE, SIZE), np.float32)
    for image, matrix, to in zip(images, matrices, result, strict=True):
        cv2.warpAffine(image, matrix, (SIZE, SIZE), dst=to, flags=cv2.INTER_LINEAR)
    return result


def main() -> None:
    warn_if_busy()
    digits = Digits(
        torch.randint(0, 256, (10_000, 28, 28), dtype=torch.uint8), torch.zeros(10_000).long()
    )
    stream = Stream(digits, RotatedTranslatedScaled(), BATCH, seed=0)
    index = torch.arange(BATCH)
    clean, _ = digits.take(index)

    def key() -> torch.Generator:
        return generator("cpu", "bench")

    ours = RotatedTranslatedScaled()(clean, key())
    torch.testing.assert_close(ours, with_torch(clean, key()), rtol=0, atol=1e-4)
    opencv = with_opencv(clean[:, 0].numpy(), key())
    assert np.abs(ours[:, 0].numpy() - opencv).mean() < 0.01  # it rounds coordinates to 1/32 pixel

    state = {"k": 0}

    def whole() -> None:
        state["k"] += 1
        stream.batch(state["k"])

    rows = []
    for threads in THREADS:
        set_threads(threads)
        times = alternate(
            {
                "spatial_transformer": whole,
                "torch affine_grid + grid_sample": lambda: with_torch(digits.take(index)[0], key()),
                "OpenCV warpAffine": lambda: with_opencv(
                    digits.take(index)[0][:, 0].numpy(), key()
                ),
            },
            seconds=3,
        )
        for name, t in times.items():
            rows.append(
                {"threads": threads, "name": name, "digits_per_second": BATCH / t["median"], **t}
            )
            print(f"{threads} threads  {name:34s} {BATCH / t['median']:10,.0f} digits/s")
    save(Path("results/benchmarks/distortions.json"), rows)


if __name__ == "__main__":
    main()
