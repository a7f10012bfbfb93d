"""The first tab: a digit on a canvas, and the predictions of two networks."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spatial_transformer.demo import payload as check
from spatial_transformer.demo.networks import input_size
from spatial_transformer.demo.pictures import DIGIT, decode_image, encode_image, make_digit
from spatial_transformer.demo.scene import MOST_PATCHES, Pose, draw_canvas
from spatial_transformer.errors import DataError, OptionError
from spatial_transformer.experiments.data.mnist import load_mnist
from spatial_transformer.experiments.data.stream import Digits
from spatial_transformer.modules.predict import find_transformer, predict
from spatial_transformer.pretrained import Pretrained
from spatial_transformer.viz.lines import grid_lines

#: the canvas where no network is chosen, in pixels
SIZE = 42
#: a drawing is reduced to so many pixels before it becomes a digit
DRAWING = 256


class DigitsTab:
    """The requests of the first tab, from plain values to plain values.

    Args:
        networks: The networks to choose from.
        digits: Test digits to show, and to cut clutter from; None where MNIST is missing.
    """

    def __init__(self, networks: Sequence[Pretrained], digits: Digits | None) -> None:
        self.networks = {network.name: network for network in networks}
        self.digits = digits

    def digit_of_picture(self, data: bytes) -> dict[str, Any]:
        """The digit in a drawing or an uploaded picture.

        Raises:
            DataError: If it is not a picture, or too large.
        """
        return {"digit": _pack(make_digit(decode_image(data, DRAWING)))}

    def test_digit(self, payload: check.Payload) -> dict[str, Any]:
        """MNIST's test digit of number ``index``.

        Raises:
            OptionError: If the number is out of range.
            DataError: If MNIST is missing.
        """
        if self.digits is None:
            raise DataError("MNIST is not on this machine: `stn train` fetches it")
        last = len(self.digits) - 1
        index = check.whole(payload, "index", 0, 10**6, 0) % (last + 1)
        images, labels = self.digits.take(torch.tensor([index]))
        return {"digit": _pack(images[0]), "label": int(labels[0])}

    @torch.inference_mode()
    def look(self, payload: check.Payload) -> dict[str, Any]:
        """The canvas of a digit and a pose, and the prediction of each network named.

        Payload: ``digit`` (784 bytes in base64), ``pose`` (see ``Pose``), ``clutter`` (``pieces``,
        ``seed``), ``networks`` (their names; all of one input size).

        Raises:
            OptionError: If a value has another type or is out of range.
            UnknownNameError: If a network's name is unknown.
        """
        digit = _unpack(check.data(payload, "digit", DIGIT * DIGIT))
        pose = Pose.parse(check.part(payload, "pose"))
        clutter = check.part(payload, "clutter")
        names = check.choices(payload, "networks", 4, tuple(self.networks))
        chosen = [self.networks[name] for name in names]
        sizes = {input_size(network) for network in chosen} or {SIZE}
        if len(sizes) > 1:
            raise OptionError(f"networks read inputs of different sizes: {', '.join(names)}")
        others = digit[None] if self.digits is None else self.digits.take(torch.arange(200))[0]
        canvas = draw_canvas(
            digit,
            pose,
            sizes.pop(),
            pieces=check.whole(clutter, "pieces", 0, MOST_PATCHES, 0),
            seed=check.whole(clutter, "seed", 0, 10**6, 0),
            others=others,
        )
        return {
            "canvas": encode_image(canvas[0]),
            "size": canvas.shape[-1],
            "networks": [see(network, canvas) for network in chosen],
        }


def see(network: Pretrained, canvas: Tensor) -> dict[str, Any]:
    """A network's prediction for a canvas ``(1, 1, H, W)``.

    Probabilities, and for each of its transforms the grid's lines on the canvas (in pixels) and the
    output.
    """
    prediction, transformer = predict(network.model, canvas), find_transformer(network.model)
    views = []
    if transformer is not None and prediction.theta is not None and prediction.warped is not None:
        for one, output in zip(prediction.theta[0], prediction.warped[0], strict=True):
            lines = grid_lines(transformer.transform, one, (canvas.shape[-2], canvas.shape[-1]))
            views.append({"grid": plain_lines(lines), "output": encode_image(output)})
    assert prediction.scores is not None  # `find_networks` takes classifiers only
    probabilities = prediction.scores.softmax(1)[0]
    return {
        "name": network.name,
        "prediction": int(probabilities.argmax()),
        "probabilities": [round(p, 5) for p in probabilities.tolist()],
        "views": views,
    }


def plain_lines(lines: Tensor) -> list[list[list[float] | None]]:
    """Lines ``(L, P, 2)`` as lists of points; None for a point that is not finite."""
    known = torch.isfinite(lines).all(-1) & (lines.abs() < 1e5).all(-1)
    rounded = lines.mul(100).round().div(100).nan_to_num().tolist()
    return [
        [point if ok else None for point, ok in zip(line, oks, strict=True)]
        for line, oks in zip(rounded, known.tolist(), strict=True)
    ]


def find_digits(data_root: Path | None = None) -> Digits | None:
    """MNIST's test digits if they are on this machine; nothing is fetched."""
    try:
        return Digits(*load_mnist("test", data_root, fetch=False))
    except DataError:
        if data_root is not None:
            raise
        return None


def _pack(digit: Tensor) -> str:
    return base64.b64encode((digit * 255).round().byte().numpy().tobytes()).decode()


def _unpack(data: bytes) -> Tensor:
    pixels = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    return pixels.reshape(1, DIGIT, DIGIT).float() / 255
