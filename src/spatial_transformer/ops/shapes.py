"""The backends' preconditions on shapes."""

import math

from spatial_transformer.errors import ShapeError


def check_shapes(
    image: tuple[int, ...],
    maps: tuple[int, ...],
    fill: tuple[int, ...] | None,
    size: tuple[int, ...],
    grid: bool,
) -> None:
    """Check the shapes of a call of a fused operator.

    Images, maps and fill values are each shared by equal parts of the outputs.

    Args:
        image: Shape of the image, ``(B, C, *spatial)``.
        maps: Shape of the maps: grids ``(B, *size, d)``; or matrices ``(B, d, d + 1)``, the same as
            thetas ``(B, d * (d + 1))`` or, in 2-D, projective ``(B, 3, 3)``.
        fill: Shape of the fill values, ``(F, C, 1)``, or None.
        size: Size of the output, in pixels.
        grid: Whether ``maps`` are grids.

    Raises:
        ShapeError: If batches do not divide the output's, or maps or fill have another shape.
    """
    images, channels, *spatial = image
    dims, count = len(spatial), maps[0]
    batch, fills = max(images, count), 0 if fill is None else fill[0]
    what = "grid" if grid else "matrix"
    if batch % images or batch % count or (fills and batch % fills):
        raise ShapeError(
            f"the batches of image ({images}), {what} ({count}) and fill ({fills}) do not "
            f"divide that of the output ({batch})"
        )
    affine = [(dims, dims + 1), (dims * (dims + 1),)]
    matrices = [*affine, (3, 3)] if dims == 2 else affine
    if len(size) != dims or tuple(maps[1:]) not in ([(*size, dims)] if grid else matrices):
        raise ShapeError(f"{what} has the shape {tuple(maps)}")
    if fill is not None and math.prod(fill) != fills * channels:
        raise ShapeError(f"fill {tuple(fill)} is not one value per channel ({channels})")
