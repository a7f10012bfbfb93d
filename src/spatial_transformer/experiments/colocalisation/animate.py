"""The paper's Figure 4 in motion: where the locator looks as it learns."""

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

from spatial_transformer.data.catalogue import make_dataset
from spatial_transformer.experiments.colocalisation.config import ENCODER
from spatial_transformer.experiments.colocalisation.locate import boxes, triplet
from spatial_transformer.experiments.run import RunConfig, load_trained, open_fabric
from spatial_transformer.models.build import build_model
from spatial_transformer.modules.spatial_transformer import SpatialTransformer
from spatial_transformer.training.loop import fit
from spatial_transformer.training.recipe import seed_everything
from spatial_transformer.viz.boxes import draw_boxes


def animate(
    config: RunConfig,
    out: Path,
    *,
    images: int = 3,
    every: int = 10,
    data_root: Path | None = None,
    device: str = "cpu",
    encoder: RunConfig = ENCODER,
) -> list[Image.Image]:
    """Train the locator of ``config`` anew and draw the first ``images`` of its set at the start
    and after every ``every`` steps.

    ``encoder`` must have been trained into ``out``.
    Raises: CheckpointError where it has not; as :func:`run`.
    """
    fabric = open_fabric(device, config.recipe.precision)
    classifier = load_trained(encoder.folder(out), fabric.device).model
    dataset = make_dataset(config.dataset)
    shown, truth = next(
        dataset.fixed("test", seed=config.seed, data_root=data_root, device=fabric.device)
    )
    shown, truth = shown[:images], truth[:images]
    seed_everything(config.seed)
    locator = build_model(config.model)
    assert isinstance(locator, SpatialTransformer)
    loss = triplet(classifier)
    frames: list[Image.Image] = []
    steps = 0

    def draw() -> None:
        with torch.no_grad():
            _, theta = locator(shown, return_theta=True)
        edges = boxes(locator.transform, theta, shown.shape[-1])
        frames.append(draw_boxes(shown, edges, truth, title=f"step {steps}"))

    def objective(network: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        nonlocal steps
        if steps % every == 0:
            draw()
        steps += 1
        return loss(network, batch)

    fit(
        fabric,
        locator,
        dataset.batches(
            config.recipe.batch_size, config.seed, data_root=data_root, device=fabric.device
        ),
        config.recipe,
        objective=objective,
    )
    draw()
    return frames
