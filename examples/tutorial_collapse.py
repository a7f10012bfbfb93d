"""Does a spatial transformer in the manner of PyTorch's tutorial collapse, and what keeps it?

    python examples/tutorial_collapse.py --out results/tutorial/collapse.json \\
        --picture docs/images/tutorial_collapse.png

The network is the tutorial's, the digits are normalised as there: black is -0.42, and what a
transformer with padding="zeros" reads outside the image is 0, a grey brighter than the background.
Two things are changed, one by one and together: what is read outside (the background's value), and
the learning rate of the localisation network (``stn.param_groups``' default, a tenth).
"""

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

import spatial_transformer as stn
from spatial_transformer.experiments.data.catalogue import make_dataset
from spatial_transformer.experiments.data.dataset import load_digits
from spatial_transformer.experiments.data.distortion import Distortion
from spatial_transformer.experiments.data.stream import Digits, Stream, fixed_set
from spatial_transformer.experiments.training.records import commit, hardware
from spatial_transformer.files import write_whole
from spatial_transformer.modules.classifier import Transformed
from spatial_transformer.modules.predict import predict
from spatial_transformer.transforms.regularisers import outside_fraction

MEAN, STD = 0.1307, 0.3081
#: the background's value once images are normalised
BLACK = -MEAN / STD
#: what the classifier takes
SIZE = 28


class Plain(Distortion):
    """The digits as they are."""

    name = title = "plain"

    def __call__(self, digits: Tensor, generator: torch.Generator) -> Tensor:
        return digits


@dataclass(frozen=True)
class Variant:
    """What is read outside the image, and the localisation network's share of the learning rate."""

    name: str
    padding: str
    localisation_lr_scale: float


VARIANTS = (
    Variant("as the tutorial", "zeros", 1.0),
    Variant("fill", "fill", 1.0),
    Variant("localisation x 0.1", "zeros", 0.1),
    Variant("fill, localisation x 0.1", "fill", 0.1),
)


@dataclass(frozen=True)
class Setting:
    """Digits, and how the tutorial's network is trained on them: SGD, batches of 64."""

    name: str
    distortion: Distortion
    lr: float
    momentum: float
    steps: int
    variants: tuple[Variant, ...]


def settings(steps: int | None = None) -> list[Setting]:
    rts = make_dataset("rts").distortion  # type: ignore[attr-defined]
    return [
        # an epoch, of the twenty of the tutorial
        Setting("tutorial", Plain(), 0.01, 0.0, steps or 938, (VARIANTS[0], VARIANTS[-1])),
        Setting("hard", rts, 0.03, 0.9, steps or 480, VARIANTS),
    ]


def build(variant: Variant, size: int) -> nn.Module:
    """The tutorial's network, for images of ``size`` pixels."""
    body = nn.Sequential(
        *(nn.Conv2d(1, 8, 7), nn.MaxPool2d(2), nn.ReLU()),
        *(nn.Conv2d(8, 10, 5), nn.MaxPool2d(2), nn.ReLU()),
        *(nn.Flatten(), nn.LazyLinear(32), nn.ReLU()),
    )
    localisation = stn.Localisation(body, "affine", in_shape=(1, size, size))
    fill = BLACK if variant.padding == "fill" else None
    return Transformed(
        stn.SpatialTransformer(localisation, "affine", SIZE, padding=variant.padding, fill=fill),
        nn.Sequential(
            *(nn.Conv2d(1, 10, 5), nn.MaxPool2d(2), nn.ReLU()),
            *(nn.Conv2d(10, 20, 5), nn.Dropout2d(), nn.MaxPool2d(2), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(320, 50), nn.ReLU(), nn.Dropout(), nn.Linear(50, 10)),
        ),
    )


def normalise(images: Tensor) -> Tensor:
    return (images - MEAN) / STD


def train(setting: Setting, variant: Variant, seed: int, digits: Digits) -> nn.Module:
    """One run; the batches are the same for every variant of a seed."""
    torch.manual_seed(seed)
    model = build(variant, setting.distortion.size)
    groups = stn.param_groups(model, setting.lr, variant.localisation_lr_scale)
    optimiser = torch.optim.SGD(groups, momentum=setting.momentum)
    stream = Stream(digits, setting.distortion, 64, seed)
    model.train()
    for k in range(setting.steps):
        images, labels = stream.batch(k)
        F.cross_entropy(model(normalise(images)), labels).backward()
        optimiser.step()
        optimiser.zero_grad()
    return model


def measure(model: nn.Module, images: Tensor, labels: Tensor) -> dict[str, float]:
    """Of test images: the error in %, by how much the transformer zooms out (the square root of the
    area that it shows, the identity being 1) and the share of its output that lies outside."""
    seen = predict(model, normalise(images))
    assert seen.scores is not None
    assert seen.theta is not None
    matrix = seen.theta.view(-1, 2, 3)
    grid = stn.Affine().grid(seen.theta[:, 0], SIZE)
    return {
        "test_error_percent": 100 * float((seen.scores.argmax(1) != labels).float().mean()),
        "zoom_out": float(matrix[:, :, :2].det().abs().sqrt().median()),
        "outside_percent": 100 * float(outside_fraction(grid).mean()),
    }


def draw(
    models: dict[str, nn.Module], images: Tensor, labels: Tensor, path: Path, title: str
) -> None:
    """The same images through every variant: grids, outputs, predictions."""
    rows = []
    for name, model in models.items():
        seen = predict(model, normalise(images))
        assert seen.scores is not None
        assert seen.warped is not None
        rows.append(
            stn.viz.draw_sheet(
                images,
                seen.warped * STD + MEAN,
                seen.theta,
                stn.Affine(),
                predicted=seen.scores.argmax(1).tolist(),
                truth=labels.tolist(),
                title=f"{title}: {name}",
            )
        )
    sheets = [stn.viz.render(figure) for figure in rows]
    whole = Image.new("RGB", (sheets[0].width, sum(s.height for s in sheets)))
    for k, sheet in enumerate(sheets):
        whole.paste(sheet, (0, sum(s.height for s in sheets[:k])))
    write_whole(path, whole.save)


def run_one(
    setting: Setting, variant: Variant, seed: int, train_digits: Digits, test_digits: Digits
) -> tuple[dict[str, object], nn.Module]:
    """The row of one run, and its network."""
    torch.set_num_threads(1)
    model = train(setting, variant, seed, train_digits)
    row: dict[str, object] = {
        "setting": setting.name, "digits": setting.distortion.name, "lr": setting.lr,
        "momentum": setting.momentum, "steps": setting.steps, "variant": variant.name,
        "padding": variant.padding, "localisation_lr_scale": variant.localisation_lr_scale,
        "seed": seed, **measure(model, *fixed_set(test_digits, setting.distortion)),
    }  # fmt: skip
    print(*row.values(), flush=True)
    return row, model


def run(
    chosen: list[Setting],
    seeds: int,
    *,
    train_digits: Digits,
    test_digits: Digits,
    picture: Path | None = None,
    jobs: int = 1,
) -> list[dict[str, object]]:
    """Every variant of every setting, ``seeds`` times, ``jobs`` at once: a row each."""
    cells = [(s, v, seed) for s in chosen for v in s.variants for seed in range(seeds)]
    work = partial(run_one, train_digits=train_digits, test_digits=test_digits)
    if jobs == 1:
        found = [work(*cell) for cell in cells]
    else:
        with ProcessPoolExecutor(jobs) as pool:
            found = list(pool.map(work, *zip(*cells, strict=True)))
    if picture is not None:
        last = chosen[-1]
        first = {v.name: m for (s, v, seed), (_, m) in zip(cells, found, strict=True)
                 if s is last and not seed}  # fmt: skip
        shown = {v.name: first[v.name] for v in (VARIANTS[0], VARIANTS[-1])}
        images, labels = fixed_set(test_digits, last.distortion)
        draw(shown, images[:8], labels[:8], picture, f"{last.distortion.title} digits, seed 0")
    return [row for row, _ in found]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, help="instead of the settings' own")
    parser.add_argument("--jobs", type=int, default=1, help="runs at once")
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--out", type=Path, default=Path("collapse.json"))
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    rows = run(
        settings(options.steps),
        options.seeds,
        train_digits=load_digits("train", options.data_root),
        test_digits=load_digits("test", options.data_root),
        picture=options.picture,
        jobs=options.jobs,
    )
    whole = {
        "hardware": hardware(torch.device("cpu")),
        "torch": torch.__version__,
        "commit": commit(),
        "results": rows,
    }
    write_whole(options.out, lambda p: p.write_text(json.dumps(whole, indent=1) + "\n"))


if __name__ == "__main__":
    main()
