"""A sheet of examples: inputs with the grid drawn on them, outputs, predictions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from spatial_transformer.coordinates import to_pixel
from spatial_transformer.errors import ShapeError
from spatial_transformer.files import write_whole
from spatial_transformer.transforms import Transform

#: colour-blind safe (Okabe and Ito)
GRID, RIGHT, WRONG = "#E69F00", "#009E73", "#D55E00"


def grid_lines(
    transform: Transform, theta: Tensor, size: tuple[int, int], lines: int = 7, points: int = 33
) -> Tensor:
    """Where ``lines`` horizontal and vertical lines of the output's frame are read, in pixels of
    an input of ``size``.

    theta ``(P,)`` -> ``(2 * lines, points, 2)`` in (x, y).
    """
    # a grid of lines x points over the output, corners included; its transpose gives the others
    rows = transform.grid(theta[None], (lines, points), align_corners=True)[0]
    columns = transform.grid(theta[None], (points, lines), align_corners=True)[0].transpose(0, 1)
    both = torch.cat([rows, columns])
    height, width = size
    return torch.stack([to_pixel(both[..., 0], width), to_pixel(both[..., 1], height)], dim=-1)


def draw_image(axes: Any, image: Tensor) -> None:
    """Draw ``(C, H, W)`` in [0, 1] (1 or 3 channels) on matplotlib axes without ticks."""
    pixels = image.detach().cpu().float().clamp(0, 1).numpy()
    axes.imshow(
        pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0), cmap="gray", vmin=0, vmax=1
    )
    axes.set_xticks([])
    axes.set_yticks([])


def draw_sheet(
    images: Tensor,
    warped: Tensor,
    theta: Tensor,
    transform: Transform,
    *,
    predicted: Sequence[object],
    truth: Sequence[object],
    title: str = "",
) -> Figure:
    """One column an example: the input with the sampling grid on it, the transformer's output, and
    the prediction (with the truth, where it is wrong).

    Args:
        images: ``(B, C, H, W)`` in [0, 1]; warped: ``(B, C, H', W')``; theta: ``(B, P)``.
    Raises: ShapeError if they differ in batch.
    """
    count = len(images)
    if not count == len(warped) == len(theta) == len(predicted) == len(truth):
        raise ShapeError(
            f"a sheet needs as many of each: {count} images, {len(warped)} outputs, {len(theta)} "
            f"thetas, {len(predicted)} predictions, {len(truth)} truths"
        )
    figure = Figure(figsize=(1.15 * count + 0.6, 2.95), dpi=150, layout="constrained")
    cells = figure.subplots(2, count, squeeze=False)
    for j in range(count):
        upper, lower = cells[0, j], cells[1, j]
        draw_image(upper, images[j])
        height, width = images.shape[-2:]
        for line in grid_lines(transform, theta[j].detach().cpu().float(), (height, width)):
            upper.plot(*line.numpy().T, color=GRID, linewidth=0.8)
        upper.set_xlim(-0.5, width - 0.5)
        upper.set_ylim(height - 0.5, -0.5)
        draw_image(lower, warped[j])
        right = predicted[j] == truth[j]
        said = f"{predicted[j]}" if right else f"{predicted[j]}, is {truth[j]}"
        lower.set_xlabel(said, color=RIGHT if right else WRONG, fontweight="bold")
    cells[0, 0].set_ylabel("input, grid")
    cells[1, 0].set_ylabel("output")
    if title:
        figure.suptitle(title, fontsize=10)
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure in the format of its suffix, without a time stamp in it."""
    metadata = {"Software": None} if path.suffix == ".png" else None
    write_whole(path, lambda p: figure.savefig(p, metadata=metadata))
