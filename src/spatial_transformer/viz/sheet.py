"""A sheet of examples: inputs with the grid drawn on them, outputs, predictions."""

from collections.abc import Sequence
from typing import Any

import torch
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from spatial_transformer.errors import ShapeError
from spatial_transformer.transforms import Transform
from spatial_transformer.viz.panes import Pane, input_panes, output_panes
from spatial_transformer.viz.style import GRIDS, RIGHT, WRONG, draw_image, fit_title, new_figure

#: in inches: a pane, between panes, above and below a caption, left of the first pane
CELL, GAP, CAPTION, MARGIN = 0.86, 0.05, 0.25, 0.62


def draw_sheet(
    images: Tensor,
    warped: Tensor | None = None,
    theta: Tensor | None = None,
    transform: Transform | None = None,
    *,
    predicted: Sequence[object] | None = None,
    truth: Sequence[object] | None = None,
    confidence: Sequence[float] | None = None,
    captions: Sequence[str] | None = None,
    boxes: Tensor | None = None,
    title: str = "",
    columns: int = 10,
    across: bool = False,
) -> Figure:
    """Draw examples side by side: input with the sampling grid, output, prediction.

    A wrong prediction is shown with the truth. Volumes are shown as projections and slices, several
    transforms of an image in a colour each, channels that are not colours one by one.

    Args:
        images: ``(B, C, H, W)`` or ``(B, C, D, H, W)`` in [0, 1].
        warped: ``(B, C, *size)``, or ``(B, N, C, *size)`` for N transforms; None without one.
        theta: ``(B, P)`` or ``(B, N, P)``; None draws no grid.
        transform: The transform of theta.
        predicted: Predictions, drawn below the examples, green where they are right, else red.
        truth: True classes.
        confidence: Of the predictions, 0 to 1.
        captions: Texts instead of predictions.
        boxes: ``(B, 4)``, true ones (left, top, right, bottom, in pixels), in green on the inputs.
        title: The figure's title.
        columns: Examples in a row.
        across: Place an example's panes from left to right rather than from the top down.

    Raises:
        ShapeError: If the arguments differ in number.

    Examples:
        >>> from spatial_transformer.transforms import Affine
        >>> identity = Affine().identity().expand(2, 6)
        >>> image = torch.rand(2, 1, 8, 8)
        >>> sheet = draw_sheet(image, image, identity, Affine(), predicted=[1, 2], truth=[1, 3])
        >>> len(sheet.axes[0].images)
        4
    """
    count = len(images)
    arguments = {"outputs": warped, "thetas": theta, "predictions": predicted, "truths": truth,
             "confidences": confidence, "captions": captions, "boxes": boxes}  # fmt: skip
    wrong = [
        f"{len(v)} {name}" for name, v in arguments.items() if v is not None and len(v) != count
    ]
    if wrong or not count:
        raise ShapeError(f"a sheet needs as many of each: {count} images, {', '.join(wrong)}")
    if theta is not None and theta.dim() == 2:
        theta = theta[:, None]
    if warped is not None and warped.dim() == images.dim():
        warped = warped[:, None]
    examples = [
        input_panes(images[k], transform, None if theta is None else theta[k])
        + ([] if warped is None else output_panes(warped[k]))
        for k in range(count)
    ]
    below: list[tuple[str, str]] = [("", "black")] * count
    if captions is not None:
        below = [(text, "black") for text in captions]
    elif predicted is not None:
        below = [_said(k, predicted, truth, confidence) for k in range(count)]
    if boxes is not None:
        boxes = boxes.detach().cpu().float()
    return lay_out(examples, below, boxes=boxes, title=title, columns=columns, across=across)


def _said(
    k: int,
    predicted: Sequence[object],
    truth: Sequence[object] | None,
    confidence: Sequence[float] | None,
) -> tuple[str, str]:
    """A prediction in words, and its colour."""
    text = str(predicted[k])
    if confidence is not None:
        text += f" ({100 * confidence[k]:.0f} %)"
    if truth is None or predicted[k] == truth[k]:
        return text, "black" if truth is None else RIGHT
    joint = "\n" if confidence is not None or len(text) > 2 else " "
    return f"{text}{joint}(true: {truth[k]})", WRONG


def lay_out(
    examples: Sequence[Sequence[Pane]],
    below: Sequence[tuple[str, str]],
    *,
    boxes: Tensor | None = None,
    title: str = "",
    columns: int = 10,
    across: bool = False,
) -> Figure:
    """Draw examples of equally many panes, each with a text; options as for ``draw_sheet``."""
    # one pair of axes in inches for all panes: a hundred pairs would take seconds
    columns = min(columns, len(examples))
    panes = examples[0]
    several = any(p.which for p in panes)
    tall = [CELL * p.pixels.shape[-2] / p.pixels.shape[-1] for p in panes]
    lines = max((text.count("\n") + 1 for text, _ in below if text), default=0)
    caption = CAPTION * lines if lines < 2 else CAPTION * lines * 0.75
    left = 0.06 if across else MARGIN
    if across:
        wide, high = len(panes) * (CELL + GAP) + 2 * GAP, max(tall) + caption + GAP
    else:
        wide, high = CELL + GAP, sum(tall) + len(tall) * GAP + caption
    blocks = -(-len(examples) // columns)
    width = left + columns * wide + 0.02
    title = fit_title(title, width)
    head = 0.08 + (0.2 + 0.17 * title.count("\n") if title else 0) + (0.2 if across else 0)
    height = head + blocks * high + 0.04
    figure = new_figure(width, height, layout=None)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    if title:
        axes.text(width / 2, 0.06, title, ha="center", va="top", fontsize=10)
    for k, panes in enumerate(examples):
        block, column = divmod(k, columns)
        x, y = left + column * wide, head + block * high
        for j, pane in enumerate(panes):
            _draw_pane(axes, pane, (x, y, CELL, tall[j]), several)
            if boxes is not None and pane.which is None:
                _draw_box(axes, pane, boxes[k], (x, y, CELL, tall[j]))
            label: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 9}
            if across:
                if block == 0:
                    name = pane.label.replace("\n", " ")
                    axes.text(x + CELL / 2, y - 0.1, name, **label)
                x += CELL + GAP
            else:
                if column == 0:
                    axes.text(
                        MARGIN * 0.6,
                        y + tall[j] / 2,
                        pane.label,
                        rotation=90,
                        linespacing=1,
                        **label,
                    )
                y += tall[j] + GAP
        text, colour = below[k]
        if across:
            x, y = left + column * wide + (wide - 3 * GAP) / 2, y + max(tall) + GAP
        else:
            x += CELL / 2
        axes.text(
            x, y, text, ha="center", va="top", color=colour, fontweight="bold",
            fontsize=10 if lines < 2 else 8.5, linespacing=1.05,
        )  # fmt: skip
    return figure


#: left, top, width and height on the sheet, in inches
Place = tuple[float, float, float, float]


def _draw_pane(axes: Any, pane: Pane, place: Place, several: bool) -> None:
    """Draw a pane; with several transforms each output has the colour of its grid."""
    x, y, width, height = place
    draw_image(axes, pane.pixels, (x, x + width, y + height, y))
    marked = several and pane.which is not None
    border = Rectangle(
        (x, y), width, height, fill=False,
        linewidth=1.8 if marked else 0.8,
        edgecolor=GRIDS[(pane.which or 0) % len(GRIDS)] if marked else "0.3", zorder=3,
    )  # fmt: skip
    axes.add_patch(border)
    for which, thick in dict.fromkeys((line.which, line.width) for line in pane.lines):
        curves = [
            _on_sheet(line.points, pane, place).numpy()
            for line in pane.lines
            if (line.which, line.width) == (which, thick)
        ]
        drawn = LineCollection(curves, colors=GRIDS[which % len(GRIDS)], linewidths=thick, zorder=2)
        axes.add_collection(drawn, autolim=False)
        drawn.set_clip_path(border)


def _draw_box(axes: Any, pane: Pane, box: Tensor, place: Place) -> None:
    # edges of pixels, whose centres are whole numbers
    (x0, y0), (x1, y1) = _on_sheet(box.view(2, 2) - 0.5, pane, place).tolist()
    axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, ec=RIGHT, lw=1.6))


def _on_sheet(points: Tensor, pane: Pane, place: Place) -> Tensor:
    """Points ``(k, 2)`` in a pane's pixels, on the sheet."""
    size = torch.tensor([pane.pixels.shape[-1], pane.pixels.shape[-2]])
    x, y, width, height = place
    return torch.tensor([x, y]) + (points + 0.5) / size * torch.tensor([width, height])
