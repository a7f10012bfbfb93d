"""Grid lines: lines of the output's frame, mapped into the input."""

import contourpy
import torch
from torch import Tensor

from spatial_transformer.coordinates import to_pixel
from spatial_transformer.errors import ShapeError
from spatial_transformer.transforms import Transform


def grid_lines(
    transform: Transform, theta: Tensor, size: tuple[int, int], lines: int = 7, points: int = 33
) -> Tensor:
    """``lines`` horizontal and vertical lines of the output's frame, mapped into the input.

    Args:
        transform: A 2-D transform.
        theta: ``(P,)``.
        size: Size of the input, in pixels.
        lines: Lines in each direction.
        points: Points of a line.

    Returns:
        ``(2 * lines, points, 2)`` in (x, y), in pixels of the input.
    """
    # a grid of lines x points over the output, corners included; its transpose gives the others
    rows = transform.grid(theta[None], (lines, points), align_corners=True)[0]
    columns = transform.grid(theta[None], (points, lines), align_corners=True)[0].transpose(0, 1)
    return _pixels(torch.cat([rows, columns]), size)


def box_edges(
    transform: Transform, theta: Tensor, size: tuple[int, int, int], points: int = 17
) -> Tensor:
    """The twelve edges of a 3-D transform's output, mapped into the input.

    Args:
        transform: A 3-D transform.
        theta: ``(P,)``.
        size: Size of the input, in voxels.
        points: Points of an edge.

    Returns:
        ``(12, points, 3)`` in (x, y, z), in voxels of the input; the first four are those of the
        front (the lowest z).

    Raises:
        ShapeError: If the transform is not 3-D.
    """
    _check_volume(transform)
    along = torch.linspace(-1, 1, points)
    edges = []
    for axis in (0, 1, 2):
        for first in (-1.0, 1.0):
            for second in (-1.0, 1.0):
                edge = torch.empty(points, 3)
                edge[:, [i for i in range(3) if i != axis]] = torch.tensor([first, second])
                edge[:, axis] = along
                edges.append(edge)
    front = [e for e in edges if bool((e[:, 2] == -1).all())]
    ordered = torch.cat([torch.stack(front), *(e[None] for e in edges if (e[:, 2] != -1).any())])
    mapped = transform.points(theta[None], ordered.reshape(1, -1, 3))[0]
    return _pixels(mapped.view(12, points, 3), size)


def slice_lines(
    transform: Transform,
    theta: Tensor,
    size: tuple[int, int, int],
    index: float,
    lines: int = 7,
    points: int = 33,
) -> list[Tensor]:
    """The intersection of a 3-D transform's grid with a slice of the input.

    The grid consists of the surfaces of ``lines`` values of the output's x and of its y.

    Args:
        transform: A 3-D transform.
        theta: ``(P,)``.
        size: Size of the input, in voxels.
        index: Depth of the slice, in voxels.
        lines: Surfaces in each direction.
        points: Points along a surface.

    Returns:
        Curves ``(k, 2)`` in (x, y), in voxels of the input.

    Raises:
        ShapeError: If the transform is not 3-D.
    """
    _check_volume(transform)
    along = torch.linspace(-1, 1, points)
    curves = []
    for axis in (0, 1):  # surfaces of constant x, then of constant y
        for value in torch.linspace(-1, 1, lines):
            # the surface's own coordinates: the other two axes of the output
            other = torch.stack(torch.meshgrid(along, along, indexing="xy"), dim=-1).flatten(0, 1)
            depth = _surface(transform, theta, axis, value, other, size)[:, 2]
            cut = contourpy.contour_generator(
                along.numpy(), along.numpy(), depth.view(points, points).numpy()
            )
            for curve in cut.lines(float(index)):
                on = torch.as_tensor(curve, dtype=torch.float32)
                curves.append(_surface(transform, theta, axis, value, on, size)[:, :2])
    return curves


def _surface(
    transform: Transform,
    theta: Tensor,
    axis: int,
    value: Tensor,
    other: Tensor,
    size: tuple[int, int, int],
) -> Tensor:
    """Points ``(k, 3)`` in voxels of the output's surface on which ``axis`` has ``value``."""
    flat = torch.empty(len(other), 3)
    flat[:, axis] = value
    flat[:, [i for i in range(3) if i != axis]] = other
    return _pixels(transform.points(theta[None], flat[None])[0], size)


def _pixels(points: Tensor, size: tuple[int, ...]) -> Tensor:
    ends = zip(points.unbind(-1), reversed(size), strict=True)
    return torch.stack([to_pixel(u, n) for u, n in ends], dim=-1)


def _check_volume(transform: Transform) -> None:
    if transform.dims != 3:
        raise ShapeError(f"transform {transform.name!r} works in 2-D, not on volumes")
