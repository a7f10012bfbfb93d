"""The second tab: any image under any transform, two samplers side by side."""

import math
import time
from collections import OrderedDict
from itertools import count
from threading import Lock
from typing import Any

import torch
from torch import Tensor

from spatial_transformer.coordinates import base_grid
from spatial_transformer.demo import payload as check
from spatial_transformer.demo.digits import plain_lines
from spatial_transformer.demo.pictures import decode_image, encode_image
from spatial_transformer.errors import DataError
from spatial_transformer.functional import warp
from spatial_transformer.names import TransformName
from spatial_transformer.samplers import list_samplers
from spatial_transformer.samplers.padding import PADDINGS
from spatial_transformer.transforms import Transform, list_transforms, make_transform
from spatial_transformer.transforms.basis import ControlPointTransform
from spatial_transformer.transforms.displacement import Displacement
from spatial_transformer.transforms.matrix import MatrixTransform
from spatial_transformer.transforms.pixel_affine import PixelAffine
from spatial_transformer.viz.lines import grid_lines

#: an image is reduced to so many pixels an axis, and so many images are kept
SIDE, KEPT = 512, 16
SIZES = (32, 64, 128, 256)
#: of theta's entries, on the page and at all
BOUND = 10.0
#: what padding="fill" reads outside
FILL = 0.5
#: smaller than the defaults where those have too many points for fingers
OPTIONS: dict[str, dict[str, object]] = {
    "displacement": {"shape": (4, 4)},
    "pixel_affine": {"shape": (3, 3)},
}
#: of sliders, by the name of theta's entry
RANGES = {
    "angle": (-math.pi, math.pi),
    "s": (0.05, 3.0),
    **dict.fromkeys(("a11", "a22", "h11", "h22"), (-3.0, 3.0)),
    **dict.fromkeys(("h31", "h32"), (-0.8, 0.8)),
}
USUAL = (-1.5, 1.5)
#: sliders that are shown at once, where theta's entries have no meaning that is known here
TOGETHER = 12


def describe(name: TransformName) -> dict[str, Any]:
    """The controls of a transform: groups of sliders, each perhaps with a point to drag.

    A group has ``label``, ``params`` (``index`` into theta, ``name``, ``low``, ``high``) and
    ``handle``: None, or ``{x, y, at}``, a point at (theta[x], theta[y]) + at in normalised
    coordinates of the input. ``theta`` is the identity.
    """
    transform = build(name)
    return {
        "name": name,
        "theta": [round(v, 6) for v in transform.identity().tolist()],
        "groups": _groups(transform),
    }


def build(name: TransformName) -> Transform:
    """A transform by name, of the size that the demo shows.

    Raises:
        UnknownNameError: If the name is not registered.
    """
    return make_transform(name, **OPTIONS.get(name, {}))


def _groups(transform: Transform) -> list[dict[str, Any]]:
    if isinstance(transform, MatrixTransform):
        names = transform.param_names
        last = {"affine": ("a13", "a23"), "projective": ("h13", "h23")}
        x, y = (names.index(n) for n in last.get(transform.name, ("tx", "ty")))
        return [_group("theta", 0, names, {"x": x, "y": y, "at": [0.0, 0.0]})]
    if isinstance(transform, ControlPointTransform):
        offsets = transform.control == "offsets"
        return _points(transform.control_points if offsets else transform.control_points * 0)
    if isinstance(transform, Displacement):
        return _points(base_grid(transform.shape, False).flatten(0, -2))
    if isinstance(transform, PixelAffine):
        names = ("a11", "a12", "a13", "a21", "a22", "a23")
        centres = base_grid(transform.shape, False).flatten(0, -2).tolist()
        return [
            _group(f"cell {k + 1}", 6 * k, names, {"x": 6 * k + 2, "y": 6 * k + 5, "at": at})
            for k, at in enumerate(centres)
        ]
    if transform.name == "log_polar":
        return [_group("centre", 0, ("tx", "ty"), {"x": 0, "y": 1, "at": [0.0, 0.0]})]
    names = tuple(f"theta {k}" for k in range(transform.num_params))
    return [
        _group(f"from {k}", k, names[k : k + TOGETHER], None)
        for k in range(0, len(names), TOGETHER)
    ]


def _points(offsets: Tensor) -> list[dict[str, Any]]:
    # a B-spline's outermost points lie beyond the image, out of reach
    return [
        _group(f"point {k + 1}", 2 * k, ("x", "y"), {"x": 2 * k, "y": 2 * k + 1, "at": at})
        for k, at in enumerate(offsets.tolist())
        if max(map(abs, at)) <= 1
    ]


def _group(
    label: str, start: int, names: tuple[str, ...], handle: dict[str, Any] | None
) -> dict[str, Any]:
    params = []
    for k, name in enumerate(names):
        low, high = RANGES.get(name, USUAL)
        params.append({"index": start + k, "name": name, "low": low, "high": high})
    return {"label": label, "params": params, "handle": handle}


def make_test_card(side: int = SIDE) -> Tensor:
    """A test image that shows aliasing, ``(3, side, side)`` in [0, 1].

    It has rings that grow finer outwards, stripes, checks and a coloured edge.
    """
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, side)] * 2, indexing="ij")
    radius = x**2 + y**2
    rings = 0.5 + 0.5 * torch.cos(0.35 * math.pi * side * radius / 2)
    card = torch.where(radius < 0.8, rings, 0.93).repeat(3, 1, 1)
    step = torch.arange(side)
    fine = (step // 2) % 2
    corner = (x.abs() > 0.62) & (y.abs() > 0.62)
    checks = ((step[:, None] // 8 + step // 8) % 2).float()
    stripes = fine.float().expand(side, side)
    pattern = torch.where(x * y > 0, checks, torch.where(x > 0, stripes, stripes.T))
    card = torch.where(corner & (radius >= 0.8), pattern, card)
    edge = side // 32
    colours = torch.tensor(
        [[0.0, 0.45, 0.70], [0.84, 0.37, 0.0], [0.0, 0.62, 0.45], [0.90, 0.62, 0.0]]
    )
    card[:, :edge], card[:, -edge:] = colours[0, :, None, None], colours[1, :, None, None]
    card[:, :, :edge], card[:, :, -edge:] = colours[2, :, None, None], colours[3, :, None, None]
    return card


class ImagesTab:
    """The requests of the second tab, from plain values to plain values."""

    def __init__(self) -> None:
        card = make_test_card()
        self._images: OrderedDict[str, Tensor] = OrderedDict(card=card)
        self._transforms = {name: build(name) for name in list_transforms()}
        self._ids, self._lock = count(1), Lock()

    def add(self, data: bytes) -> dict[str, Any]:
        """Store an uploaded image.

        Raises:
            DataError: If it is not a picture, or too large.
        """
        image = decode_image(data, SIDE)
        with self._lock:
            name = f"image {next(self._ids)}"
            self._images[name] = image
            while len(self._images) > KEPT:
                oldest = next(n for n in self._images if n != "card")
                del self._images[oldest]
        return self._answer(name, image)

    def get(self, payload: check.Payload) -> dict[str, Any]:
        """A stored image.

        Raises:
            OptionError: If the payload names none.
            DataError: If it is no longer stored.
        """
        name = str(payload.get("image", "card"))
        return self._answer(name, self._image(name))

    def _answer(self, name: str, image: Tensor) -> dict[str, Any]:
        height, width = image.shape[-2:]
        return {"image": name, "width": width, "height": height, "pixels": encode_image(image)}

    def _image(self, name: str) -> Tensor:
        with self._lock:
            if name not in self._images:
                raise DataError("this image is no longer kept: load it again")
            return self._images[name]

    @torch.inference_mode()
    def warp(self, payload: check.Payload) -> dict[str, Any]:
        """An image under a transform, sampled in two ways, and the grid's lines on it in pixels.

        Payload: ``image``, ``transform``, ``theta``, ``size``, ``padding``, ``samplers`` (two of
        ``kernel``, ``antialias``).

        Raises:
            OptionError: If a value has another type or is out of range.
            UnknownNameError: If a name is unknown.
            DataError: If the image is no longer stored.
        """
        image = self._image(str(payload.get("image", "card")))
        transform = self._transforms[check.choice(payload, "transform", list_transforms())]
        theta = torch.tensor([check.numbers(payload, "theta", transform.num_params, BOUND)])
        size = check.whole(payload, "size", min(SIZES), max(SIZES), SIZES[1])
        padding = check.choice(payload, "padding", PADDINGS)
        outputs = []
        for sampler in check.parts(payload, "samplers", 2):
            kernel = check.choice(sampler, "kernel", list_samplers())
            antialias = check.flag(sampler, "antialias")
            start = time.perf_counter()
            output = warp(
                image[None], theta, transform, size,
                kernel=kernel, padding=padding, antialias=antialias,
                fill=FILL if padding == "fill" else None,
            )[0]  # fmt: skip
            took = 1e3 * (time.perf_counter() - start)
            outputs.append({"pixels": encode_image(output), "milliseconds": round(took, 1)})
        lines = grid_lines(transform, theta[0], (image.shape[-2], image.shape[-1]), lines=9)
        return {"grid": plain_lines(lines), "size": size, "outputs": outputs}
