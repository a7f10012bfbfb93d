"""Boxes on images, as pictures and as an animation."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw
from torch import Tensor

from spatial_transformer.errors import ShapeError
from spatial_transformer.files import write_whole
from spatial_transformer.viz.sheet import GRID, RIGHT


def draw_boxes(
    images: Tensor, predicted: Tensor, truth: Tensor, *, title: str = "", zoom: int = 3
) -> Image.Image:
    """Images side by side with their true box (green) and the predicted one (orange).

    Args:
        images: ``(N, 1, H, W)`` in [0, 1]; predicted, truth: ``(N, 4)``, the left, top, right and
            bottom edge in pixels.
        zoom: pixels of the picture a pixel of an image.
    Raises: ShapeError.
    """
    if images.dim() != 4 or images.shape[1] != 1 or not len(images):
        raise ShapeError(f"images must be (N, 1, H, W), got {tuple(images.shape)}")
    if predicted.shape != (len(images), 4) or truth.shape != (len(images), 4):
        raise ShapeError(
            f"boxes must be ({len(images)}, 4), got {tuple(predicted.shape)} and "
            f"{tuple(truth.shape)}"
        )
    count, _, height, width = images.shape
    gap, head = 4, 14
    sheet = Image.new("RGB", (count * (width * zoom + gap) - gap, height * zoom + head), "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((2, 1), title, fill="black")
    for k in range(count):
        pixels = (images[k, 0].detach().cpu().float().clamp(0, 1) * 255).byte().numpy()
        left = k * (width * zoom + gap)
        size = (width * zoom, height * zoom)
        sheet.paste(Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST), (left, head))
        for box, colour in ((truth[k], RIGHT), (predicted[k], GRID)):
            x0, y0, x1, y1 = (box.detach().cpu().float() * zoom).round().tolist()
            edges = [left + x0, head + y0, left + max(x0, x1 - 1), head + max(y0, y1 - 1)]
            draw.rectangle(edges, outline=colour, width=2)
    return sheet


def save_animation(frames: Sequence[Image.Image], path: Path, milliseconds: int = 120) -> None:
    """Write frames as an animated GIF that repeats. Raises: ShapeError if there is none."""
    if not frames:
        raise ShapeError("an animation needs one frame at least")
    first, *rest = frames
    write_whole(
        path,
        lambda p: first.save(
            p, format="GIF", save_all=True, append_images=rest, duration=milliseconds, loop=0
        ),
    )
