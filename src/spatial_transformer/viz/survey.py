"""What a model makes of a whole data set: mean images of each class, thetas, mistakes."""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from spatial_transformer.errors import DataError
from spatial_transformer.modules.predict import predict
from spatial_transformer.transforms import Transform
from spatial_transformer.viz.sheet import draw_sheet


@dataclass(frozen=True)
class Mistake:
    """An image that is taken for another class, and how sure of it the model is (0 to 1)."""

    image: Tensor  # (C, *spatial)
    warped: Tensor | None  # (N, C, *size)
    theta: Tensor | None  # (N, P)
    predicted: int
    truth: int
    confidence: float


@dataclass(frozen=True)
class Survey:
    """``before`` ``(K, C, *spatial)`` and ``after`` ``(K, N, C, *size)`` are means over the images
    of each of ``classes``, as they come and as the transformer passes them on; ``theta``
    ``(M, N, P)``; ``mistakes`` have the surest first. None without a transformer."""

    images: int
    wrong: int
    classes: list[int]
    before: Tensor
    after: Tensor | None
    theta: Tensor | None
    mistakes: list[Mistake]


def survey(
    model: nn.Module, blocks: Iterable[tuple[Tensor, Tensor]], *, mistakes: int = 30
) -> Survey:
    """Show a classifier every image of ``blocks``: images ``(B, C, *spatial)``, labels ``(B,)``.

    Args:
        mistakes: how many to keep.
    Raises: DataError if there are no images.

    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    >>> found = survey(model, [(torch.rand(8, 1, 4, 4), torch.arange(8) % 3)])
    >>> found.images, found.classes, len(found.mistakes) == found.wrong
    (8, [0, 1, 2], True)
    """
    before: dict[int, Tensor] = {}
    after: dict[int, Tensor] = {}
    counts: dict[int, int] = {}
    thetas: list[Tensor] = []
    kept: list[tuple[float, int, Mistake]] = []
    images_seen = wrong = 0
    for images, labels in blocks:
        seen = predict(model, images)
        if seen.theta is not None:
            thetas.append(seen.theta.cpu())
        for k in labels.unique().tolist():
            chosen = labels == k
            counts[k] = counts.get(k, 0) + int(chosen.sum())
            before[k] = before.get(k, 0) + images[chosen].sum(0).cpu()
            if seen.warped is not None:
                after[k] = after.get(k, 0) + seen.warped[chosen].sum(0).cpu()
        images_seen += len(labels)
        if seen.scores is None:
            continue
        sure, said = seen.scores.float().softmax(1).max(1)
        for i in torch.where(said != labels)[0].tolist():
            wrong += 1
            mistake = Mistake(
                images[i].cpu(),
                None if seen.warped is None else seen.warped[i].cpu(),
                None if seen.theta is None else seen.theta[i].cpu(),
                int(said[i]),
                int(labels[i]),
                float(sure[i]),
            )
            heapq.heappush(kept, (mistake.confidence, -wrong, mistake))
            if len(kept) > mistakes:
                heapq.heappop(kept)
    if not images_seen:
        raise DataError("there are no images to look at")
    classes = sorted(counts)
    return Survey(
        images_seen,
        wrong,
        classes,
        torch.stack([before[k] / counts[k] for k in classes]),
        torch.stack([after[k] / counts[k] for k in classes]) if after else None,
        torch.cat(thetas) if thetas else None,
        [m for _, _, m in sorted(kept, reverse=True)],
    )


def draw_means(found: Survey, *, title: str = "") -> Figure:
    """The mean image of each class, as it comes and as the transformer passes it on: the sharper
    it gets, the more alike the images of a class have become. In each row the brightest pixel is
    white."""
    before, after = (None if m is None else m / m.amax() for m in (found.before, found.after))
    assert before is not None
    return draw_sheet(before, after, captions=[f"{k}" for k in found.classes], title=title)


def draw_mistakes(
    found: Survey, transform: Transform | None = None, *, title: str = "", columns: int = 10
) -> Figure:
    """The mistakes of a survey, the surest first: input and grid, output, what it is taken for
    with the confidence, and the truth. Raises: DataError if there are none."""
    if not found.mistakes:
        raise DataError(f"no mistakes to show: all of {found.images:,} images are right")
    these = found.mistakes
    warped = [m.warped for m in these if m.warped is not None]
    theta = [m.theta for m in these if m.theta is not None]
    return draw_sheet(
        torch.stack([m.image for m in these]),
        torch.stack(warped) if warped else None,
        torch.stack(theta) if theta else None,
        transform,
        predicted=[m.predicted for m in these],
        truth=[m.truth for m in these],
        confidence=[m.confidence for m in these],
        title=title,
        columns=columns,
    )
