"""The style of all pictures: colours, sizes, drawing of images, writing of files."""

import textwrap
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from spatial_transformer.errors import OptionError
from spatial_transformer.files import write_whole

#: colour-blind safe (Okabe and Ito)
ORANGE, SKY, GREEN, YELLOW = "#E69F00", "#56B4E9", "#009E73", "#F0E442"
BLUE, VERMILION, PURPLE, BLACK = "#0072B2", "#D55E00", "#CC79A7", "#000000"

#: the grids of an image's first, second, ... transform
GRIDS = (ORANGE, SKY, PURPLE, YELLOW)
#: a right answer, a wrong one
RIGHT, WRONG = GREEN, VERMILION
#: lines and bars of the first, second, ... of many
SERIES = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION, BLACK)

#: pixels an inch: a picture nine inches wide is still readable at a README's width
DPI = 150
SUFFIXES = (".png", ".pdf", ".svg")


def new_figure(width: float, height: float, *, layout: str | None = "constrained") -> Figure:
    """An empty figure of that many inches."""
    return Figure(figsize=(width, height), dpi=DPI, layout=layout, facecolor="white")  # type: ignore[arg-type]


def fit_title(title: str, width: float) -> str:
    """A title wrapped to ``width`` inches; its own line ends stay."""
    characters = max(12, int(width / 0.083))
    lines = title.split("\n")
    return "\n".join(textwrap.fill(line, characters, break_long_words=False) for line in lines)


def draw_image(axes: Any, image: Tensor, extent: tuple[float, float, float, float]) -> None:
    """Draw ``(C, H, W)`` in [0, 1] (1 or 3 channels) on matplotlib axes.

    ``extent`` is left, right, bottom and top in the axes' units.
    """
    pixels = image.detach().cpu().float().clamp(0, 1).numpy()
    axes.imshow(
        pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0),
        cmap="gray",
        vmin=0,
        vmax=1,
        interpolation="nearest",
        aspect="auto",
        extent=extent,
    )


def plain_axes(axes: Any) -> None:
    """Axes of a plot: two edges and a light grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=9)


def save_figure(figure: Figure, path: Path | str) -> None:
    """Write a figure in the format of its suffix (.png, .pdf, .svg), without a time stamp in it.

    Raises:
        OptionError: If the suffix is another.
    """
    path = Path(path)
    stamps = {".png": {"Software": None}, ".pdf": {"CreationDate": None}, ".svg": {"Date": None}}
    if path.suffix not in stamps:
        raise OptionError(f"{path}: a picture is one of {', '.join(SUFFIXES)}")
    with rc_context({"svg.hashsalt": "spatial_transformer"}):  # its ids are random otherwise
        write_whole(path, lambda p: figure.savefig(p, metadata=stamps[path.suffix]))


def render(figure: Figure, width: int | None = None) -> Image.Image:
    """A figure as an image ``width`` pixels wide (about); at its own resolution if None."""
    dpi = DPI if width is None else width / figure.get_figwidth()
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
