"""TC: digits translated in a large image among pieces of other digits."""

import torch
from torch import Tensor

from spatial_transformer.experiments.data.distortion import Distortion, PoseRange


def whole(generator: torch.Generator, shape: tuple[int, ...], high: int) -> Tensor:
    """Random integers, uniform in [0, high)."""
    return torch.randint(high, shape, generator=generator, device=generator.device)


def square(top: Tensor, left: Tensor, side: int, stride: int) -> Tensor:
    """Flat indices of squares in images of ``stride`` columns: ``(...)`` -> ``(..., side**2)``."""
    step = torch.arange(side, device=top.device)
    rows = (top[..., None] + step) * stride
    columns = left[..., None] + step
    return (rows[..., :, None] + columns[..., None, :]).flatten(-2)


def place(digits: Tensor, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Place digits at random whole-pixel positions of a black canvas.

    Args:
        digits: ``(B, 1, n, n)``.
        size: Side of the canvas, in pixels.
        generator: The random generator.

    Returns:
        The canvases ``(B, 1, size, size)``, and each digit's top row and left column, ``(B,)``.
    """
    count, n = len(digits), digits.shape[-1]
    room = size - n + 1
    top, left = whole(generator, (count,), room), whole(generator, (count,), room)
    canvas = digits.new_zeros(count, size**2)
    canvas.scatter_(1, square(top, left, n, size), digits.flatten(1))
    return canvas.unflatten(1, (1, size, size)), top, left


def add_patches(
    canvas: Tensor, digits: Tensor, which: Tensor, patch: int, generator: torch.Generator
) -> Tensor:
    """Add patches of other digits to canvases; the brighter value wins.

    Args:
        canvas: ``(B, 1, size, size)``.
        digits: ``(M, 1, n, n)``, from which the patches are cut at random.
        which: ``(B, N)``, the digit of each of N patches a canvas.
        patch: Side of a patch, in pixels.
        generator: The random generator.
    """
    size, n, shape = canvas.shape[-1], digits.shape[-1], tuple(which.shape)
    room = n - patch + 1
    source = square(whole(generator, shape, room), whole(generator, shape, room), patch, n)
    pieces = digits.flatten(1)[which[..., None], source]
    room = size - patch + 1
    target = square(whole(generator, shape, room), whole(generator, shape, room), patch, size)
    flat = canvas.flatten(1).clone()
    flat.scatter_reduce_(1, target.flatten(1), pieces.flatten(1), "amax")
    return flat.unflatten(1, (1, size, size))


class TranslatedCluttered(Distortion):
    """TC: a digit at a random position in 60x60, and six 6x6 patches of other digits.

    Positions are whole pixels. Where pieces overlap, the brighter value wins. The other digits are
    those of the batch that is distorted.

    Note:
        Source: the paper's appendix A.3.
    """

    name = "tc"
    title = "TC"
    size = 60
    patches = 6
    patch = 6
    poses = PoseRange(moved=True, pieces=patches)

    def __call__(self, digits: Tensor, generator: torch.Generator) -> Tensor:
        """Digits ``(B, 1, 28, 28)`` to images ``(B, 1, 60, 60)``, both in [0, 1]."""
        count = len(digits)
        canvas, _, _ = place(digits, self.size, generator)
        # a step of 1 .. count - 1 through the batch never comes back to the digit itself (one that
        # is alone has no others)
        step = 1 + whole(generator, (count, self.patches), max(count - 1, 1))
        other = (torch.arange(count, device=digits.device)[:, None] + step) % count
        return add_patches(canvas, digits, other, self.patch, generator)
