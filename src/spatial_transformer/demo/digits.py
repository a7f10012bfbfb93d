"""The first tab: a digit on a canvas, and the predictions of two networks."""

import base64
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spatial_transformer.demo import payload as check
from spatial_transformer.demo.differences import BATCH, Draw, Found, find_difference
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
#: of clutter, and of the digits that are looked for
MOST_SEED = 10**6


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
        digits = self._test_digits()
        index = check.whole(payload, "index", 0, 10**6, 0) % len(digits)
        images, labels = digits.take(torch.tensor([index]))
        return {"digit": _pack(images[0]), "label": int(labels[0])}

    @torch.inference_mode()
    def look(self, payload: check.Payload) -> dict[str, Any]:
        """The canvas of a digit and a pose, and the prediction of each network named.

        Payload: ``digit`` (784 bytes in base64), ``pose`` (see ``Pose``), ``clutter`` (``pieces``,
        ``seed``), ``networks`` (their names; all of one input size). Nothing is predicted of
        an empty digit.

        Raises:
            OptionError: If a value has another type or is out of range.
            UnknownNameError: If a network's name is unknown.
        """
        digit = _unpack(check.data(payload, "digit", DIGIT * DIGIT))
        pose = Pose.parse(check.part(payload, "pose"))
        clutter = check.part(payload, "clutter")
        chosen = self._chosen(payload, 4)
        canvas = draw_canvas(
            digit,
            pose,
            input_size(chosen[0]) if chosen else SIZE,
            pieces=check.whole(clutter, "pieces", 0, MOST_PATCHES, 0),
            seed=check.whole(clutter, "seed", 0, MOST_SEED, 0),
            others=self._others(digit),
        )
        empty = not digit.any()
        return {
            "canvas": encode_image(canvas[0]),
            "size": canvas.shape[-1],
            "empty": empty,
            "networks": [] if empty else [see(network, canvas) for network in chosen],
        }

    def differ(self, payload: check.Payload) -> dict[str, Any]:
        """A digit, and a pose within the range of training, that the two networks read differently.

        Payload: ``networks`` (one or two), ``seed``, and perhaps ``digit``: the digit to pose,
        instead of MNIST's; its class is what the first network reads upright.

        Raises:
            OptionError: If a value has another type or is out of range.
            UnknownNameError: If a network's name is unknown.
            DataError: If MNIST is missing, and no digit given.
        """
        chosen = self._chosen(payload, 2)
        if not chosen:
            raise OptionError("networks must name one or two")
        seed = check.whole(payload, "seed", 0, MOST_SEED, 0)
        if "digit" in payload:
            digit = _unpack(check.data(payload, "digit", DIGIT * DIGIT))
            found = find_difference(chosen, _repeat(digit, chosen[0]), seed, self._others(digit))
            return _answer(found)
        digits = self._test_digits()

        def draw(source: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
            numbers = torch.randint(len(digits), (BATCH,), generator=source)
            return *digits.take(numbers), numbers

        found = find_difference(chosen, draw, seed, self._others(digits.take(torch.tensor([0]))[0]))
        return {**_answer(found), "label": found.label, "number": found.number}

    def _chosen(self, payload: check.Payload, most: int) -> list[Pretrained]:
        names = check.choices(payload, "networks", most, tuple(self.networks))
        chosen = [self.networks[name] for name in names]
        if len({input_size(network) for network in chosen}) > 1:
            raise OptionError(f"networks read inputs of different sizes: {', '.join(names)}")
        return chosen

    def _test_digits(self) -> Digits:
        if self.digits is None:
            raise DataError("MNIST is not on this machine: `stn train` fetches it")
        return self.digits

    def _others(self, digit: Tensor) -> Tensor:
        """What clutter is cut from: MNIST, or the digit itself."""
        if self.digits is None:
            return digit.view(1, 1, DIGIT, DIGIT)
        return self.digits.take(torch.arange(min(200, len(self.digits))))[0]


@torch.inference_mode()
def _repeat(digit: Tensor, network: Pretrained) -> Draw:
    canvas = draw_canvas(digit, Pose(), input_size(network), others=digit[None])
    label = network.model(canvas).argmax(1)

    def draw(_: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        labels = label.expand(BATCH)
        return digit.expand(BATCH, 1, DIGIT, DIGIT), labels, torch.zeros_like(labels)

    return draw


def _answer(found: Found) -> dict[str, Any]:
    return {
        "digit": _pack(found.digit),
        "pose": asdict(found.pose),
        "pieces": found.pieces,
        "differs": found.differs,
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
