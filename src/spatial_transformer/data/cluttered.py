"""TC: digits moved about a large image among pieces of other digits."""

import torch
from torch import Tensor

from spatial_transformer.data.distortion import Distortion


def whole(generator: torch.Generator, shape: tuple[int, ...], high: int) -> Tensor:
    """Whole numbers, uniform in [0, high)."""
    return torch.randint(high, shape, generator=generator, device=generator.device)


def square(top: Tensor, left: Tensor, side: int, stride: int) -> Tensor:
    """Flat indices of squares in images of ``stride`` columns: ``(...)`` -> ``(..., side**2)``."""
    step = torch.arange(side, device=top.device)
    rows = (top[..., None] + step) * stride
    columns = left[..., None] + step
    return (rows[..., :, None] + columns[..., None, :]).flatten(-2)


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
        count, n = len(digits), digits.shape[-1]
        room = self.size - n + 1
        top, left = whole(generator, (count,), room), whole(generator, (count,), room)
        canvas = digits.new_zeros(count, self.size**2)
        canvas.scatter_(1, square(top, left, n, self.size), digits.flatten(1))

        shape = (count, self.patches)
        # a step of 1 .. count - 1 through the batch never comes back to the digit itself
        step = 1 + whole(generator, shape, max(count - 1, 1))
        other = (torch.arange(count, device=digits.device)[:, None] + step) % count
        room = n - self.patch + 1
        source = square(whole(generator, shape, room), whole(generator, shape, room), self.patch, n)
        pieces = digits.flatten(1)[other[..., None], source]
        room = self.size - self.patch + 1
        target = square(
            whole(generator, shape, room), whole(generator, shape, room), self.patch, self.size
        )
        canvas.scatter_reduce_(1, target.flatten(1), pieces.flatten(1), "amax")
        return canvas.unflatten(1, (1, self.size, self.size))
