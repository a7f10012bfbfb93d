"""Plots of theta: its distribution over a data set, and its path through training."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from spatial_transformer.errors import ShapeError
from spatial_transformer.transforms import Transform
from spatial_transformer.transforms.basis import ControlPointTransform
from spatial_transformer.transforms.matrix import MatrixTransform
from spatial_transformer.viz.style import GRIDS, SERIES, fit_title, new_figure, plain_axes

#: panels in a row, and inches of one
COLUMNS, PANEL = 3, (2.6, 1.7)


def theta_values(transform: Transform, theta: Tensor) -> tuple[list[str], Tensor, Tensor]:
    """Theta ``(..., P)`` in readable form: names, values ``(..., Q)``, and those of the identity.

    A bounded family's own parameters, within their bounds; those of other families unchanged.
    """
    identity = transform.identity()
    if isinstance(transform, MatrixTransform):
        return list(transform.param_names), transform.values(theta), transform.values(identity)
    return [f"theta {k}" for k in range(transform.num_params)], theta, identity


def _places(transform: Transform, theta: Tensor) -> tuple[Tensor, Tensor] | None:
    """A 2-D family's control points ``(K, 2)``, and their positions ``(..., K, 2)`` under theta.

    None for other families.
    """
    if not isinstance(transform, ControlPointTransform) or transform.dims != 2:
        return None
    points = transform.control_points.float()
    return points, points + transform.moves(theta)


def draw_theta(theta: Tensor, transform: Transform, *, title: str = "") -> Figure:
    """Plot the distribution of theta, a histogram for each parameter; dashed where the identity is.

    For 2-D families of control points, the positions of each of them.

    Args:
        theta: ``(M, P)``, or ``(M, N, P)`` for N transforms an image, in a colour each.
        transform: The transform of theta.
        title: The figure's title.

    Raises:
        ShapeError: If theta has another shape.

    Examples:
        >>> from spatial_transformer.transforms import Attention
        >>> len(draw_theta(torch.rand(50, 3), Attention()).axes)
        3
    """
    theta = _three(theta, transform)
    placement = _places(transform, theta)
    if placement is not None:
        points, placed = placement
        figure, axes = _plane(points, title)
        for n in range(theta.shape[1]):
            places = placed[:, n]
            for k in range(len(points)):
                axes.scatter(
                    *places[:, k].T.numpy(), s=3, linewidths=0, rasterized=True,
                    alpha=max(0.05, min(0.6, 60 / len(theta))), color=SERIES[k % len(SERIES)],
                )  # fmt: skip
        return figure
    names, values, identity = theta_values(transform, theta)
    figure, panels = _panels(names, title)
    bins = min(40, max(8, round(len(theta) ** 0.5)))
    for k, axes in enumerate(panels):
        low, high = values[..., k].min().item(), values[..., k].max().item()
        for n in range(values.shape[1]):
            axes.hist(
                values[:, n, k].numpy(), bins=bins, range=(low, high) if high > low else None,
                color=_colour(n, values.shape[1]), alpha=0.75 if values.shape[1] > 1 else 1,
            )  # fmt: skip
        axes.axvline(float(identity[k]), color="black", linewidth=1, linestyle="--")
        axes.set_xlabel(names[k], fontsize=10)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
    return figure


def draw_theta_paths(
    steps: Sequence[float] | Tensor, theta: Tensor, transform: Transform, *, title: str = ""
) -> Figure:
    """Plot theta through training for a few images: thin lines, their mean a thick one.

    Dashed where the identity is. For 2-D families of control points, each point's path, the mean
    over the images, from a cross to a dot.

    Args:
        steps: ``(T,)``.
        theta: ``(T, B, P)``, or ``(T, B, N, P)`` for N transforms an image.
        transform: The transform of theta.
        title: The figure's title.

    Raises:
        ShapeError: If theta has another shape.
    """
    steps = torch.as_tensor(steps).float()
    if theta.dim() not in (3, 4) or len(theta) != len(steps):
        raise ShapeError(
            f"theta must be (T, B, P) or (T, B, N, P) for {len(steps)} steps, "
            f"got {tuple(theta.shape)}"
        )
    theta = _three(theta.flatten(0, 1), transform).unflatten(0, theta.shape[:2])
    placement = _places(transform, theta)
    if placement is not None:
        points, placed = placement
        figure, axes = _plane(points, title)
        for n in range(theta.shape[2]):
            ways = placed[:, :, n].mean(1)
            for k in range(len(points)):
                colour = SERIES[k % len(SERIES)]
                axes.plot(*ways[:, k].T.numpy(), color=colour, linewidth=1)
                axes.plot(*ways[-1, k].tolist(), "o", color=colour, markersize=4)
        return figure
    names, values, identity = theta_values(transform, theta)
    figure, panels = _panels(names, title)
    for k, axes in enumerate(panels):
        axes.axhline(float(identity[k]), color="black", linewidth=1, linestyle="--")
        for n in range(values.shape[2]):
            colour = _colour(n, values.shape[2])
            lines = values[:, :, n, k].numpy()
            axes.plot(steps.numpy(), lines, color=colour, linewidth=0.7, alpha=0.5)
            axes.plot(steps.numpy(), lines.mean(1), color=colour, linewidth=2.2)
        axes.set_title(names[k], fontsize=10)
        if k >= len(names) - COLUMNS:
            axes.set_xlabel("step", fontsize=10)
    return figure


def _three(theta: Tensor, transform: Transform) -> Tensor:
    """Theta as ``(M, N, P)`` on the CPU.

    Raises:
        ShapeError: If theta has another shape.
    """
    theta = transform.check_theta(theta).detach().cpu().float()
    return theta if theta.dim() == 3 else theta[:, None]


def _colour(n: int, count: int) -> str:
    return SERIES[0] if count == 1 else GRIDS[n % len(GRIDS)]


def _panels(names: Sequence[str], title: str) -> tuple[Figure, list[Any]]:
    rows = math.ceil(len(names) / COLUMNS)
    columns = min(COLUMNS, len(names))
    figure = new_figure(columns * PANEL[0], rows * PANEL[1] + (0.3 if title else 0))
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in panels[len(names) :]:
        axes.remove()
    for axes in panels[: len(names)]:
        plain_axes(axes)
    if title:
        figure.suptitle(fit_title(title, columns * PANEL[0]), fontsize=10)
    return figure, panels[: len(names)]


def _plane(points: Tensor, title: str) -> tuple[Figure, Any]:
    """The plane that control points lie in, the image's frame and the identity's points in it."""
    figure = new_figure(4.4, 4.4 + (0.4 if title else 0))
    axes = figure.subplots()
    plain_axes(axes)
    axes.plot([-1, 1, 1, -1, -1], [-1, -1, 1, 1, -1], color="0.4", linewidth=1)
    axes.plot(*points.T.numpy(), "+", color="black", markersize=9, markeredgewidth=1.4, zorder=3)
    axes.set_aspect("equal")
    axes.invert_yaxis()
    axes.set_xlabel("x", fontsize=10)
    axes.set_ylabel("y", fontsize=10)
    if title:
        figure.suptitle(fit_title(title, 4.4), fontsize=10)
    return figure, axes
