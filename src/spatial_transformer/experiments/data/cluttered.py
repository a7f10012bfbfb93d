"""TC: digits moved about a large image among pieces of other digits."""

import torch
from torch import Tensor

from spatial_transformer.experiments.data.distortion import Distortion


def whole(generator: torch.Generator, shape: tuple[int, ...], high: int) -> Tensor:
    """Whole numbers, uniform in [0, high)."""
    return torch.randint(high, shape, generator=generator, device=generator.device)


def square(top: Tensor, left: Tensor, side: int, stride: int) -> Tensor:
    """Flat indices of squares in images of ``stride`` columns: ``(...)`` -> ``(..., side**2)``."""
    step = torch.arange(side, device=top.device)
    rows = (top[..., None] + step) * stride
    columns = left[..., None] + step
    return (rows[..., :, None] + columns[..., None, :]).flatten(-2)


def place(digits: Tensor, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Digits ``(B, 1, n, n)`` at random whole-pixel places of a black canvas: the canvases
    ``(B, 1, size, size)``, and the top row and left column of each, ``(B,)``."""
    count, n = len(digits), digits.shape[-1]
    room = size - n + 1
    top, left = whole(generator, (count,), room), whole(generator, (count,), room)
    canvas = digits.new_zeros(count, size**2)
    canvas.scatter_(1, square(top, left, n, size), digits.flatten(1))
    return canvas.unflatten(1, (1, size, size)), top, left


def add_patches(
    canvas: Tensor, digits: Tensor, which: Tensor, patch: int, generator: torch.Generator
) -> Tensor:
    """Canvases ``(B, 1, size, size)`` with ``patch`` x ``patch`` pixels cut at random out of
    ``digits[which]`` and put at random places; the brighter value stays.

    ``which`` is ``(B, N)`` for N patches a canvas.
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
    """TC: the digit at a random place in 60x60, and six 6x6 patches of other digits at random
    places (the paper's appendix A.3).

    Places are whole pixels. Where pieces overlap, the brighter value stays. The other digits are
    those of the batch that is distorted.
    """

    name = "tc"
    title = "TC"
    size = 60
    patches = 6
    patch = 6

    def __call__(self, digits: Tensor, generator: torch.Generator) -> Tensor:
        count = len(digits)
        canvas, _, _ = place(digits, self.size, generator)
        # a step of 1 .. count - 1 through the batch never comes back to the digit itself (one that
        # is alone has no others)
        step = 1 + whole(generator, (count, self.patches), max(count - 1, 1))
        other = (torch.arange(count, device=digits.device)[:, None] + step) % count
        return add_patches(canvas, digits, other, self.patch, generator)
