"""Panes: the flat pictures of an image, and the lines drawn on them."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from spatial_transformer.errors import ShapeError
from spatial_transformer.transforms import Transform
from spatial_transformer.viz.lines import box_edges, grid_lines, slice_lines


@dataclass(frozen=True)
class Line:
    """A curve ``(k, 2)`` in (x, y) pixels, of the ``which``-th transform."""

    points: Tensor
    which: int = 0
    width: float = 0.9


@dataclass(frozen=True)
class Pane:
    """One flat picture ``(C, H, W)`` in [0, 1] of an image, its label and its lines."""

    label: str
    pixels: Tensor
    lines: list[Line] = field(default_factory=list)
    which: int | None = None  # the transform it came out of


def input_panes(
    image: Tensor, transform: Transform | None = None, theta: Tensor | None = None
) -> list[Pane]:
    """An input with the grids of its transforms.

    ``(C, H, W)`` is one pane (or one a channel, where these are not 1 or 3); ``(C, D, H, W)`` its
    projections from the front and from the side and the slice through the grid's middle.

    Args:
        image: ``(C, H, W)`` or ``(C, D, H, W)`` in [0, 1].
        transform: The transform of theta, or None.
        theta: ``(N, P)``, or None for no grid.

    Raises:
        ShapeError: If the transform is for images of another dimension.
    """
    image = image.detach().cpu().float()
    if image.dim() not in (3, 4):
        raise ShapeError(f"an image must be (C, H, W) or (C, D, H, W), got {tuple(image.shape)}")
    thetas = [] if theta is None or transform is None else list(theta.detach().cpu().float())
    if image.dim() == 4:
        return _volume_panes(image, transform, thetas)
    height, width = image.shape[-2:]
    lines = [
        Line(points, k)
        for k, one in enumerate(thetas)
        if transform is not None
        for points in grid_lines(transform, one, (height, width))
    ]
    name = "input, grid" if lines else "input"
    return [Pane(name + extra, p, lines) for extra, p in _channels(image)]


def output_panes(views: Tensor) -> list[Pane]:
    """The outputs of an input's transforms, ``(N, C, H, W)`` or ``(N, C, D, H, W)``.

    Volumes are shown as the slice in the middle and the projection from the front.
    """
    panes = []
    for k, view in enumerate(views.detach().cpu().float()):
        name = f"output {k + 1}" if len(views) > 1 else "output"
        if view.dim() == 4:
            middle = view[:, view.shape[1] // 2]
            panes.append(Pane("output,\nslice", middle, which=k))
            panes.append(Pane("output,\nfront", _bright(view.mean(1)), which=k))
        else:
            panes += [Pane(name + extra, p, which=k) for extra, p in _channels(view)]
    return panes


def _channels(image: Tensor) -> list[tuple[str, Tensor]]:
    """An image of 1 or 3 channels as one picture, others channel by channel, with labels."""
    if len(image) in (1, 3):
        return [("", image)]
    return [(f",\nchannel {k + 1}", c[None]) for k, c in enumerate(image)]


def _volume_panes(image: Tensor, transform: Transform | None, thetas: list[Tensor]) -> list[Pane]:
    depth = image.shape[1]
    size = (depth, image.shape[2], image.shape[3])
    front, side, cuts = [], [], []
    middle = (depth - 1) / 2
    if transform is not None:
        for k, theta in enumerate(thetas):
            centre = transform.points(theta[None], torch.zeros(1, 1, 3))[0, 0, 2]
            middle = float(((centre + 1) * depth / 2 - 0.5).clamp(0, depth - 1).round())
            for j, edge in enumerate(box_edges(transform, theta, size)):
                thick = 1.3 if j < 4 else 0.7
                front.append(Line(edge[:, :2], k, thick))
                side.append(Line(edge[:, [2, 1]], k, thick))
            cuts += [Line(c, k) for c in slice_lines(transform, theta, size, middle)]
    return [
        Pane("input,\nfront", _bright(image.mean(1)), front),
        Pane("input,\nside", _bright(image.mean(3).transpose(1, 2)), side),
        Pane("input,\nslice", image[:, round(middle)], cuts),
    ]


def _bright(image: Tensor) -> Tensor:
    """Scale an image so that the brightest pixel is white: a projection is dim."""
    return image / image.amax().clamp_min(1e-6)
