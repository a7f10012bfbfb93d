"""Several transformers in a network: the view after each, and their composition."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from spatial_transformer.errors import OptionError
from spatial_transformer.evaluating import evaluating
from spatial_transformer.functional import warp
from spatial_transformer.modules.cascade import Cascade
from spatial_transformer.modules.recurrent import Recurrent
from spatial_transformer.modules.spatial_transformer import Parallel, SpatialTransformer
from spatial_transformer.transforms import Compose, Transform
from spatial_transformer.viz.panes import input_panes, output_panes
from spatial_transformer.viz.sheet import lay_out


@dataclass(frozen=True)
class Stage:
    """A network's transformers up to one of them, composed to one transform of the network's input.

    ``theta`` is ``(B, P)``; ``warped`` ``(B, C, *size)`` is the input sampled once, at that
    transformer's size.
    """

    name: str
    transform: Transform
    theta: Tensor
    warped: Tensor


@torch.no_grad()
def find_stages(model: nn.Module, images: Tensor) -> list[Stage]:
    """Run ``model`` on ``images`` and compose its transformers in the order in which they run.

    Layers between them must keep the frame, as convolutions and pools do. A ``Cascade`` gives a
    stage each time one of its networks runs.

    Raises:
        OptionError: If there is no transformer, or a ``Parallel`` or ``Recurrent`` one (its
            transforms are side by side; use ``draw_sheet``).

    Examples:
        >>> layers = [SpatialTransformer("fully_connected", "affine") for _ in range(2)]
        >>> stages = find_stages(nn.Sequential(*layers), torch.rand(3, 1, 8, 8))
        >>> [(s.name, s.transform.num_params) for s in stages]
        [('0', 6), ('1', 12)]
    """
    stages: list[Stage] = []
    chain: list[tuple[Transform, Tensor]] = []

    def add(name: str, layer: SpatialTransformer, thetas: list[Tensor]) -> None:
        for k, theta in enumerate(thetas):
            links = [*chain, (layer.transform, theta)]
            parts = [transform for transform, _ in links]
            composed = parts[0] if len(parts) == 1 else Compose(parts)
            joint = torch.cat([t for _, t in links], dim=-1)
            view = warp(images, joint, composed, layer.size, **layer.sampler.options())
            label = f"{name} {k + 1}".strip() if len(thetas) > 1 else name
            stages.append(Stage(label, composed, joint, view))
        chain.append((layer.transform, thetas[-1]))

    def watch(name: str) -> Callable[..., None]:
        def hook(layer: SpatialTransformer, args: tuple[Tensor, ...], out: Any) -> None:
            if isinstance(layer, Cascade):
                add(name, layer, layer.thetas(args[0]))
            else:
                add(name, layer, [layer.localisation(args[0])])

        return hook

    layers = [(n, m) for n, m in model.named_modules() if isinstance(m, SpatialTransformer)]
    if not layers:
        raise OptionError("the model has no spatial transformer to show")
    for _, layer in layers:
        if isinstance(layer, Parallel | Recurrent):
            raise OptionError(
                f"a {type(layer).__name__} transformer has no stages: its transforms are side by "
                "side"
            )
    hooks = [layer.register_forward_hook(watch(name)) for name, layer in layers]
    try:
        with evaluating(model):
            model(images)
    finally:
        for handle in hooks:
            handle.remove()
    return stages


def draw_stages(images: Tensor, stages: Sequence[Stage], *, title: str = "") -> Figure:
    """Draw every stage for each image: the input with the composed grid so far, and the view.

    Args:
        images: ``(B, C, *spatial)``.
        stages: As returned by ``find_stages``.
        title: The figure's title.
    """
    examples = [
        [
            replace(
                pane, label=f"{pane.label}\n(stage {number})" if len(stages) > 1 else pane.label
            )
            for number, stage in enumerate(stages, 1)
            for pane in (
                *input_panes(image, stage.transform, stage.theta[k][None]),
                *output_panes(stage.warped[k][None]),
            )
        ]
        for k, image in enumerate(images)
    ]
    return lay_out(examples, [("", "black")] * len(examples), title=title)
