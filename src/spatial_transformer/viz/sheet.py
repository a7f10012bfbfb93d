"""A sheet of examples: inputs with the grid drawn on them, outputs, predictions."""

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from spatial_transformer.errors import ShapeError
from spatial_transformer.transforms import Transform
from spatial_transformer.viz.panes import Pane, input_panes, output_panes
from spatial_transformer.viz.style import GRIDS, RIGHT, WRONG, draw_image, new_figure

#: inches: of a pane, between panes, above and below a caption, left of the first pane
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
    """Examples side by side: of each the input with the sampling grid on it, what the transformer
    makes of it, and the prediction (with the truth, where it is wrong).

    Volumes are shown as projections and slices, several transforms of an image in a colour each,
    channels that are no colours one by one.

    Args:
        images: ``(B, C, H, W)`` or ``(B, C, D, H, W)`` in [0, 1].
        warped: ``(B, C, *size)``, or ``(B, N, C, *size)`` for N transforms; None without one.
        theta: ``(B, P)`` or ``(B, N, P)``; None draws no grid.
        predicted, truth: below each example; green where they are equal, else red.
        confidence: of the predictions, 0 to 1.
        captions: instead of predictions.
        boxes: ``(B, 4)``, true ones (left, top, right, bottom, in pixels), in green on the inputs.
        columns: examples in a row.
        across: panes of an example from left to right rather than from the top down.
    Raises: ShapeError if they differ in number.

    >>> from spatial_transformer.transforms import Affine
    >>> identity = Affine().identity().expand(2, 6)
    >>> image = torch.rand(2, 1, 8, 8)
    >>> len(draw_sheet(image, image, identity, Affine(), predicted=[1, 2], truth=[1, 3]).axes)
    4
    """
    count = len(images)
    given = {"outputs": warped, "thetas": theta, "predictions": predicted, "truths": truth,
             "confidences": confidence, "captions": captions, "boxes": boxes}  # fmt: skip
    wrong = [f"{len(v)} {name}" for name, v in given.items() if v is not None and len(v) != count]
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
    joint = "\nis " if confidence is not None else ", is "
    return f"{text}{joint}{truth[k]}", WRONG


def lay_out(
    examples: Sequence[Sequence[Pane]],
    below: Sequence[tuple[str, str]],
    *,
    boxes: Tensor | None = None,
    title: str = "",
    columns: int = 10,
    across: bool = False,
) -> Figure:
    """Examples of as many panes each, with a text and its colour below each; the rest as in
    :func:`draw_sheet`."""
    # every pane is placed by hand: all are the same, and a hundred of them take no time
    columns = min(columns, len(examples))
    panes = examples[0]
    several = any(p.which for p in panes)
    ratios = [p.pixels.shape[-2] / p.pixels.shape[-1] for p in panes]
    lines = max((text.count("\n") + 1 for text, _ in below if text), default=0)
    caption = CAPTION * lines if lines < 2 else CAPTION * lines * 0.75
    blocks = -(-len(examples) // columns)
    left = 0.06 if across else MARGIN
    head = (0.3 if title else 0.06) + (0.2 if across else 0)
    if across:
        wide, tall = len(panes) * (CELL + GAP) + GAP, CELL * max(ratios) + caption + GAP
    else:
        wide, tall = CELL + GAP, sum(CELL * r + GAP for r in ratios) + caption
    width, height = left + columns * wide + 0.02, head + blocks * tall + 0.04
    figure = new_figure(width, height, layout=None)
    if title:
        figure.text(0.5, 1 - 0.06 / height, title, ha="center", va="top", fontsize=10)
    for k, panes in enumerate(examples):
        block, column = divmod(k, columns)
        x, y = left + column * wide, head + block * tall  # y from the top
        for j, pane in enumerate(panes):
            axes = figure.add_axes(
                (x / width, 1 - (y + CELL * ratios[j]) / height,
                 CELL / width, CELL * ratios[j] / height)
            )  # fmt: skip
            _draw_pane(axes, pane, several)
            if boxes is not None and pane.which is None:
                _draw_box(axes, boxes[k])
            if across:
                if block == 0:
                    axes.set_title(pane.label.replace("\n", " "), fontsize=9, pad=3)
                x += CELL + GAP
            else:
                if column == 0:
                    axes.set_ylabel(pane.label, fontsize=9, labelpad=4)
                y += CELL * ratios[j] + GAP
        text, colour = below[k]
        if across:
            x, y = left + column * wide + (wide - GAP) / 2, y + CELL * max(ratios) + GAP
        else:
            x += CELL / 2
        figure.text(
            x / width, 1 - y / height, text, ha="center", va="top", color=colour,
            fontweight="bold", fontsize=10 if lines < 2 else 8.5, linespacing=1.05,
        )  # fmt: skip
    return figure


def _draw_pane(axes: Any, pane: Pane, several: bool) -> None:
    """A pane; of several transforms each output has the colour of its grid."""
    draw_image(axes, pane.pixels)
    height, width = pane.pixels.shape[-2:]
    for line in pane.lines:
        colour = GRIDS[line.which % len(GRIDS)]
        axes.plot(*line.points.numpy().T, color=colour, linewidth=line.width)
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim(height - 0.5, -0.5)
    marked = several and pane.which is not None
    for spine in axes.spines.values():
        spine.set(
            linewidth=1.8 if marked else 0.8,
            color=GRIDS[(pane.which or 0) % len(GRIDS)] if marked else "0.3",
        )


def _draw_box(axes: Any, box: Tensor) -> None:
    x0, y0, x1, y1 = (box - 0.5).tolist()  # edges of pixels, whose centres are whole numbers
    axes.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, ec=RIGHT, lw=1.6))
