"""What kernels believe of the shapes that they are given, whichever kernels they are."""

import math

from spatial_transformer.errors import ShapeError


def check_shapes(
    image: tuple[int, ...],
    maps: tuple[int, ...],
    fill: tuple[int, ...] | None,
    size: tuple[int, ...],
    grid: bool,
) -> None:
    """Maps are grids, or matrices: affine (or as thetas, the same numbers in a row) or, in 2-D,
    projective. Images, maps and fill values are shared by equal parts of the outputs.

    Raises: ShapeError.
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
