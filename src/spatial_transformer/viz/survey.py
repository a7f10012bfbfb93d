"""A model on a whole data set: mean images of each class, thetas, mistakes."""

import heapq
from collections.abc import Callable, Iterable, Sequence
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
    """A misclassified image, and the model's confidence (0 to 1)."""

    image: Tensor  # (C, *spatial)
    warped: Tensor | None  # (N, C, *size)
    theta: Tensor | None  # (N, P)
    predicted: int | list[int]  # a list for a sequence
    truth: int | list[int]
    confidence: float


@dataclass(frozen=True)
class Survey:
    """A classifier's results on a data set.

    ``before`` ``(K, C, *spatial)`` and ``after`` ``(K, N, C, *size)`` are mean images of each of
    ``classes``, before and after the transformer; ``theta`` is ``(M, N, P)``. They are None without
    a transformer. ``mistakes`` are sorted by confidence, the most confident first.
    """

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
    """Run a classifier on every image of a data set.

    Args:
        model: The classifier, with or without a transformer.
        blocks: Batches of images ``(B, C, *spatial)`` and labels ``(B,)``, or sequences ``(B, T)``:
            then means are of the images that have a class anywhere, or with T transforms of the
            output at its place, and a mistake is an image with a wrong label.
        mistakes: How many of these to return.

    Raises:
        DataError: If there are no images.

    Examples:
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
        >>> result = survey(model, [(torch.rand(8, 1, 4, 4), torch.arange(8) % 3)])
        >>> result.images, result.classes, len(result.mistakes) == result.wrong
        (8, [0, 1, 2], True)
    """
    before: dict[int, Tensor] = {}
    after: dict[int, Tensor] = {}
    counts: dict[int, int] = {}
    thetas: list[Tensor] = []
    heap: list[tuple[float, int, Mistake]] = []
    images_seen = wrong = 0
    for images, labels in blocks:
        prediction = predict(model, images)
        if prediction.theta is not None:
            thetas.append(prediction.theta.cpu())
        for k in labels.unique().tolist():
            chosen, *place = torch.where(labels == k)
            counts[k] = counts.get(k, 0) + len(chosen)
            before[k] = before.get(k, 0) + images[chosen].sum(0).cpu()
            if prediction.warped is not None:
                views = prediction.warped[chosen]
                if place and views.shape[1] == labels.shape[1]:
                    views = prediction.warped[chosen, place[0]][:, None]
                after[k] = after.get(k, 0) + views.sum(0).cpu()
        images_seen += len(labels)
        if prediction.scores is None:
            continue
        sure, predicted = prediction.scores.float().softmax(-1).max(-1)
        sure = sure.flatten(1).prod(1) if labels.dim() > 1 else sure
        for i in torch.where(predicted != labels)[0].unique().tolist():
            wrong += 1
            mistake = Mistake(
                images[i].cpu(),
                None if prediction.warped is None else prediction.warped[i].cpu(),
                None if prediction.theta is None else prediction.theta[i].cpu(),
                predicted[i].tolist(),
                labels[i].tolist(),
                float(sure[i]),
            )
            heapq.heappush(heap, (mistake.confidence, -wrong, mistake))
            if len(heap) > mistakes:
                heapq.heappop(heap)
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
        [m for _, _, m in sorted(heap, reverse=True)],
    )


def draw_means(survey: Survey, *, title: str = "") -> Figure:
    """Draw the mean image of each class before and after the transformer.

    The sharper it gets, the better the transformer has aligned the class. In each row the brightest
    pixel is white.
    """
    before, after = (None if m is None else m / m.amax() for m in (survey.before, survey.after))
    assert before is not None
    return draw_sheet(before, after, captions=[f"{k}" for k in survey.classes], title=title)


def draw_mistakes(
    survey: Survey,
    transform: Transform | None = None,
    *,
    title: str = "",
    columns: int = 10,
    spell: Callable[[Tensor], Sequence[object]] = Tensor.tolist,
) -> Figure:
    """Draw the mistakes of a survey, the most confident first.

    Each is input and grid, output, predicted class with its confidence, and truth.

    Args:
        survey: The survey.
        transform: The transform of theta.
        title: The figure's title.
        columns: Examples in a row.
        spell: The texts of classes ``(B,)``, or sequences ``(B, T)``.

    Raises:
        DataError: If there are none.
    """
    if not survey.mistakes:
        raise DataError(f"no mistakes to show: all of {survey.images:,} images are right")
    these = survey.mistakes
    warped = [m.warped for m in these if m.warped is not None]
    theta = [m.theta for m in these if m.theta is not None]
    return draw_sheet(
        torch.stack([m.image for m in these]),
        torch.stack(warped) if warped else None,
        torch.stack(theta) if theta else None,
        transform,
        predicted=spell(torch.tensor([m.predicted for m in these])),
        truth=spell(torch.tensor([m.truth for m in these])),
        confidence=[m.confidence for m in these],
        title=title,
        columns=columns,
    )
