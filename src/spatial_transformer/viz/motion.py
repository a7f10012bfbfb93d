"""Films of a transformer in training or on moving images: a sheet of examples a frame."""

from collections.abc import Iterator, Sequence

from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from spatial_transformer.errors import ShapeError
from spatial_transformer.transforms import Transform
from spatial_transformer.viz.sheet import draw_sheet
from spatial_transformer.viz.style import render

#: of a frame, in pixels: what a README shows at full size
WIDTH = 760


def film_frames(
    images: Tensor,
    warped: Tensor | None = None,
    theta: Tensor | None = None,
    transform: Transform | None = None,
    *,
    predicted: Sequence[Sequence[object]] | None = None,
    truth: Sequence[object] | None = None,
    boxes: Tensor | None = None,
    titles: Sequence[str] | None = None,
    columns: int = 10,
    across: bool = False,
    width: int | None = None,
) -> Iterator[Image.Image]:
    """Frames of a film, drawn one after the other by ``draw_sheet``.

    Args:
        images: ``(T, B, C, *spatial)`` for T frames.
        warped: ``(T, B, N, C, *size)``, of N transforms an image.
        theta: ``(T, B, N, P)``.
        transform: The transform of theta.
        predicted: Predictions, T times B.
        truth: B true classes.
        boxes: ``(B, 4)``, as for ``draw_sheet``.
        titles: T titles.
        columns: Examples in a row.
        across: As for ``draw_sheet``.
        width: Width of a frame in pixels, about; the most that a README shows if None.

    Raises:
        ShapeError: If they differ in the number of frames or images.
    """
    arguments = {"outputs": warped, "thetas": theta, "predictions": predicted, "titles": titles}
    wrong = [
        f"{len(v)} {n}" for n, v in arguments.items() if v is not None and len(v) != len(images)
    ]
    if wrong:
        raise ShapeError(f"a film of {len(images)} frames got {', '.join(wrong)}")
    for t in range(len(images)):
        yield _frame(
            draw_sheet(
                images[t],
                None if warped is None else warped[t],
                None if theta is None else theta[t],
                transform,
                predicted=None if predicted is None else predicted[t],
                truth=truth,
                boxes=boxes,
                title="" if titles is None else titles[t],
                columns=columns,
                across=across,
            ),
            width,
        )


def _frame(figure: Figure, width: int | None) -> Image.Image:
    return render(figure, width or min(WIDTH, round(140 * figure.get_figwidth())))
