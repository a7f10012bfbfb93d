"""The gallery: a page and its pictures, of whatever is registered, made when the site is built.

A new transform, sampler or padding appears by itself; :data:`EXAMPLES` may say which theta shows it
best.
"""

import inspect
import io
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image
from torch import Tensor

import spatial_transformer as stn
from spatial_transformer.coordinates import base_grid, to_pixel
from spatial_transformer.samplers import KERNELS
from spatial_transformer.samplers.padding import PADDINGS, check_padding
from spatial_transformer.transforms import TRANSFORMS
from spatial_transformer.transforms.basis import ControlPointTransform
from spatial_transformer.viz.lines import grid_lines
from spatial_transformer.viz.style import ORANGE, draw_image

#: the cat Chelsea, by Stefan van der Walt, CC0
PICTURE = Path(__file__).parents[1] / "images" / "cat.jpg"
#: where one of its eyes is, in normalised coordinates
EYE = (-0.45, -0.2)
LOOK: Any = {"axes.edgecolor": "0.75", "axes.linewidth": 0.6, "svg.hashsalt": "gallery"}


@cache
def cat() -> Tensor:
    """``(1, 3, 192, 192)`` in [0, 1]."""
    with Image.open(PICTURE) as picture:
        pixels = torch.frombuffer(bytearray(picture.convert("RGB").tobytes()), dtype=torch.uint8)
        width, height = picture.size
    return pixels.reshape(1, height, width, 3).permute(0, 3, 1, 2).float() / 255


def swirl(points: Tensor, angle: float) -> Tensor:
    """Moves of points about the centre, the less the further out."""
    x, y = points.unbind(-1)
    turn = angle * torch.exp(-2 * (x * x + y * y))
    cos, sin = torch.cos(turn), torch.sin(turn)
    return torch.stack([cos * x - sin * y, sin * x + cos * y], dim=-1) - points


def moved(transform: stn.Transform, moves: Callable[[Tensor], Tensor]) -> Tensor:
    """theta that moves the control points by what ``moves`` says of them."""
    assert isinstance(transform, ControlPointTransform)
    return transform.identity() + moves(transform.control_points.float()).flatten()


def ripple(points: Tensor) -> Tensor:
    return 0.13 * torch.sin(1.5 * math.pi * points.flip(-1))


def bulge(points: Tensor) -> Tensor:
    """Magnifies the middle."""
    return -0.55 * points * torch.exp(-3 * points.square().sum(-1, keepdim=True))


def jitter(points: Tensor) -> Tensor:
    return 0.16 * torch.randn(points.shape, generator=torch.Generator().manual_seed(3))


def turning(transform: stn.Transform) -> Tensor:
    """Rotations that differ from place to place."""
    at = base_grid(transform.shape).flatten(0, 1)  # type: ignore[arg-type]
    angle = 0.9 * at[:, 0] * at[:, 1] + 0.25
    zero = torch.zeros_like(angle)
    rows = [torch.cos(angle), -torch.sin(angle), zero, torch.sin(angle), torch.cos(angle), zero]
    return torch.stack(rows, dim=-1).flatten()


#: a theta that shows what a family can do; others get their identity and some noise
EXAMPLES: dict[str, Callable[[stn.Transform], Tensor]] = {
    "translation": lambda t: torch.tensor([0.3, -0.2]),
    "attention": lambda t: torch.tensor([0.5, 0.1, -0.05]),
    "rigid": lambda t: torch.tensor([0.5, 0.1, 0.0]),
    "similarity": lambda t: torch.tensor([0.5, 0.65, 0.05, 0.0]),
    "affine": lambda t: torch.tensor([0.8, 0.35, 0.0, -0.1, 0.7, 0.0]),
    "projective": lambda t: torch.tensor([0.8, 0.1, 0.0, 0.0, 0.9, 0.0, 0.15, 0.45]),
    "thin_plate_spline": lambda t: moved(t, bulge),
    "piecewise_affine": lambda t: moved(t, jitter),
    "bspline": lambda t: moved(t, lambda p: 0.3 * torch.sin(2 * p.flip(-1) + 1)),
    "linear_basis": lambda t: torch.tensor([0.9, -0.4, 0.0, 0.0, 0.9, 0.1]),
    "displacement": lambda t: ripple(base_grid(t.shape)).flatten(),  # type: ignore[arg-type]
    "diffeomorphic": lambda t: moved(t, lambda p: swirl(p, 1.6)),
    "pixel_affine": turning,
    "log_polar": lambda t: torch.zeros(2),
}


def example(transform: stn.Transform) -> Tensor:
    """A theta ``(P,)``."""
    if transform.name in EXAMPLES:
        return EXAMPLES[transform.name](transform)
    noise = torch.randn(transform.num_params, generator=torch.Generator().manual_seed(0))
    return transform.identity() + 0.1 * noise


def panels(*titles: str) -> tuple[Figure, list[Any]]:
    """Squares side by side."""
    count = len(titles)
    figure = Figure(figsize=(2.5 * count, 2.7), dpi=100, layout="constrained")
    cells = list(figure.subplots(1, count, squeeze=False)[0])
    for axes, title in zip(cells, titles, strict=True):
        axes.set_title(title, fontsize=9, color="0.35")
    return figure, cells


def draw_square(axes: Any, image: Tensor) -> None:
    """``(C, H, W)`` in its own pixels, without ticks."""
    height, width = image.shape[-2:]
    draw_image(axes, image, (-0.5, width - 0.5, height - 0.5, -0.5))
    axes.set(xticks=[], yticks=[], aspect="equal")


def draw_grid(axes: Any, transform: stn.Transform, theta: Tensor, size: tuple[int, int]) -> None:
    for line in grid_lines(transform, theta, size, lines=9, points=65):
        axes.plot(*line.numpy().T, color=ORANGE, linewidth=1)


def draw_transform(name: str) -> Figure:
    transform = TRANSFORMS.make(name)
    theta = example(transform)
    figure, (left, right) = panels("input, and where it is read", "output")
    draw_square(left, cat()[0])
    draw_grid(left, transform, theta, (192, 192))
    left.set_xlim(-0.5, 191.5)
    left.set_ylim(191.5, -0.5)
    draw_square(right, stn.warp(cat(), theta[None], transform)[0])
    draw_grid(right, stn.Affine(), stn.Affine().identity(), (192, 192))
    return figure


def psnr(image: Tensor, truth: Tensor) -> float:
    """Peak signal-to-noise ratio in dB, of images in [0, 1]."""
    return -10 * math.log10(float((image - truth).square().mean()))


def draw_sampler(name: str) -> Figure:
    kernel = KERNELS.make(name)
    figure, (curve, eye, turned) = panels("kernel k(d)", "an eye, 8 times", "after 24 turns by 15°")
    d = torch.linspace(-4, 4, 801)
    curve.axhline(0, color="0.8", linewidth=0.8)
    curve.plot(d, kernel(d), color="#0072B2", linewidth=1.6)
    curve.set_ylim(-0.35, 1.1)
    curve.tick_params(labelsize=7)
    curve.set_box_aspect(1)
    near = torch.tensor([[0.3, 0.125, *EYE]])
    draw_square(eye, stn.warp(cat(), near, "similarity", 192, kernel=kernel)[0])
    step = torch.tensor([[math.pi / 12, 0.0, 0.0]])
    image = cat()
    for _ in range(24):
        image = stn.warp(image, step, "rigid", kernel=kernel)
    draw_square(turned, image[0])
    inside = (slice(None), slice(None), slice(48, 144), slice(48, 144))  # never turned out of it
    turned.set_xlabel(f"{psnr(image[inside], cat()[inside]):.1f} dB", fontsize=9)
    return figure


def draw_padding(name: str) -> Figure:
    theta = torch.tensor([[0.35, 2.2, 0.0, 0.0]])
    fill = [0.0, 0.45, 0.7] if name == "fill" else None
    figure, (axes,) = panels(f'padding="{name}"')
    padding = check_padding(name)
    draw_square(axes, stn.warp(cat(), theta, "similarity", padding=padding, fill=fill)[0])
    frame = torch.tensor([[[-1.0, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]]])
    similarity = stn.Similarity()
    corners = similarity.points(similarity.inverse(theta), frame)[0]
    axes.plot(*(corners * 96 + 95.5).T.numpy(), color=ORANGE, linewidth=1.2)
    return figure


def rings(size: int) -> Tensor:
    """A zone plate: rings that get finer outwards, ``(1, 1, size, size)``."""
    squared = base_grid((size, size)).square().sum(-1)
    return (0.5 + 0.5 * torch.cos(0.2 * math.pi * size * squared))[None, None]


def draw_antialias() -> Figure:
    figure, cells = panels("input, 192 pixels", "48 pixels", "48 pixels, antialias=True")
    same = torch.zeros(1, 2)
    draw_square(cells[0], rings(192)[0])
    for axes, antialias in zip(cells[1:], (False, True), strict=True):
        draw_square(axes, stn.warp(rings(192), same, "translation", 48, antialias=antialias)[0])
    return figure


def draw_convention() -> Figure:
    """Four pixels, and the coordinates of both conventions along them."""
    figure = Figure(figsize=(6.4, 2.5), layout="constrained")
    axes = figure.subplots()
    for k in range(4):
        axes.add_patch(Rectangle((k - 0.5, -0.5), 1, 1, facecolor="0.93", edgecolor="0.6"))
        axes.plot(k, 0, "o", color="0.4", markersize=4)
        axes.text(k, 0.25, f"u = {k}", ha="center", va="center", fontsize=9, color="0.35")
    for align_corners, y, side, colour in (
        (False, 0.85, 1, "#0072B2"),
        (True, -0.85, -1, "#D55E00"),
    ):
        ends = to_pixel(torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0]), 4, align_corners).tolist()
        axes.plot([ends[0], ends[-1]], [y, y], color=colour, linewidth=1.6)
        for u, x in zip(ends, ("-1", "-0.5", "0", "0.5", "1"), strict=True):
            axes.plot([u, u], [y - 0.08, y + 0.08], color=colour, linewidth=1.6)
            axes.text(u, y + 0.27 * side, x, ha="center", va="center", fontsize=9, color=colour)
        for u in (ends[0], ends[-1]):
            axes.plot([u, u], [y, 0], color=colour, linewidth=0.8, linestyle=":")
        said = f"align_corners={align_corners}"
        axes.text(3.75, y, said, va="center", fontsize=10, color=colour, family="monospace")
    axes.set_xlim(-0.7, 5.6)
    axes.set_ylim(-1.3, 1.3)
    axes.set_aspect("equal")
    axes.axis("off")
    return figure


def to_bytes(figure: Figure, suffix: str = "png") -> bytes:
    """The same bytes every time."""
    out = io.BytesIO()
    stamp = {"png": "Software", "svg": "Date"}[suffix]
    figure.savefig(out, format=suffix, metadata={stamp: None})
    return out.getvalue()


#: kind -> names, and how one is drawn
KINDS: dict[str, tuple[tuple[str, ...], Callable[[str], Figure]]] = {
    "transforms": (stn.list_transforms(), draw_transform),
    "samplers": (stn.list_samplers(), draw_sampler),
    "paddings": (PADDINGS, draw_padding),
}


@cache
def pictures() -> dict[str, bytes]:
    """Every picture of the gallery and the convention's, by its path in the site."""
    with rc_context(LOOK):
        return {
            **{
                f"images/gallery/{kind}/{name}.png": to_bytes(draw(name))
                for kind, (names, draw) in KINDS.items()
                for name in names
            },
            "images/gallery/antialias.png": to_bytes(draw_antialias()),
            "images/convention.svg": to_bytes(draw_convention(), "svg"),
        }


def summary(what: Any) -> str:
    """The first line of a docstring."""
    return (inspect.getdoc(what) or "").split("\n", 1)[0]


def link(what: Any) -> str:
    """A link to its place in the API."""
    return f"[`{what.__name__}`][{what.__module__}.{what.__qualname__}]"


def page() -> str:
    """The gallery's page in Markdown."""
    lines = [PAGE_HEAD, "## Transforms", "", TRANSFORMS_HEAD, ""]
    for name in stn.list_transforms():
        transform = TRANSFORMS.make(name)
        dims = " and ".join(f"{n}-D" for n in transform.supported_dims)
        lines += [
            f"### {name}",
            "",
            f"{link(type(transform))}, {dims}, theta of {transform.num_params} numbers as built by "
            f"default (in 2-D). {summary(type(transform))}",
            "",
            f"![{name}: the grid on the input, and the output]"
            f"(images/gallery/transforms/{name}.png)",
            "",
        ]
    lines += ["## Samplers", "", SAMPLERS_HEAD, ""]
    for sampler in stn.list_samplers():
        kernel = KERNELS.make(sampler)
        lines += [
            f"### {sampler}",
            "",
            f"{link(type(kernel))}, {kernel.taps} pixels an axis.",
            "",
            f"![{sampler}: kernel, enlargement, and what 24 rotations leave]"
            f"(images/gallery/samplers/{sampler}.png)",
            "",
        ]
    lines += ["### antialias=True", "", ANTIALIAS_HEAD, ""]
    lines += ["![rings, reduced to a quarter](images/gallery/antialias.png)", ""]
    lines += ["## Paddings", "", PADDINGS_HEAD, ""]
    lines += [f"![{name}](images/gallery/paddings/{name}.png){{ width=32% }}" for name in PADDINGS]
    return "\n".join(lines) + "\n"


PAGE_HEAD = """# Gallery

Every registered transform, sampler and padding. The pictures are made when this page is built, by
`docs/site/gallery.py` from the registries. (The cat is Chelsea, photographed by Stefan van der
Walt, CC0.)
"""
TRANSFORMS_HEAD = """Left the input with the grid of points that the output reads, right the
output, on which the same grid is straight."""
SAMPLERS_HEAD = """Left the kernel, with which each pixel is weighed by its distance; in the middle
an eye of the cat eight times as large and turned; right the cat turned 24 times by 15 degrees,
and how near its middle still is to the original (peak signal-to-noise ratio; more is better). The
B-splines of order 2 and more are prefiltered: what they weigh are coefficients, not pixels, so that
they go through the pixels all the same."""
ANTIALIAS_HEAD = """With any sampler: the mean over each output pixel's footprint, rather than the
value at its centre. Here rings that get finer outwards, reduced to a quarter. Without it the fine
ones come back as coarse ones that are not there; see [aliasing](your_network.md#aliasing)."""
PADDINGS_HEAD = """What is read outside of the image (the orange frame)."""
