"""The trained networks that the demo can show."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from spatial_transformer.errors import CheckpointError, OptionError
from spatial_transformer.experiments.data.distortion import PoseRange
from spatial_transformer.experiments.data.stream import DISTORTIONS
from spatial_transformer.experiments.runner.load import load_model
from spatial_transformer.pretrained import Pretrained, from_pretrained, list_pretrained

#: what to do where there are no weights at all
ADVICE = """stn train --data rts --model st_cnn --recipe demo
stn train --data rts --model cnn --recipe demo
stn demo runs/table1-demo/rts--st_cnn_affine--seed0 runs/table1-demo/rts--cnn--seed0"""


def find_networks(paths: Sequence[Path] = ()) -> list[Pretrained]:
    """The networks of ``paths`` (runs' folders, weights, checkpoints), then those of the package.

    Each has a unique name. Nothing is fetched.

    Raises:
        CheckpointError: If files are broken or do not fit together.
        OptionError: If the demo cannot show one of ``paths``.
    """
    networks: list[Pretrained] = []
    for path in paths:
        if not path.exists():
            raise CheckpointError(f"{path}: no such folder or file")
        network: Pretrained = load_model(path)
        if not is_shown(network):
            raise OptionError(
                f"{network.name}: the demo shows networks that read one digit in a square image; "
                f"this one reads {network.config.in_shape} into {network.config.classes} classes"
            )
        networks.append(network)
    shipped = [n for n in map(from_pretrained, list_pretrained()) if is_shown(n)]
    # the data set of which most can be seen first, and of a data set the best
    networks += sorted(shipped, key=lambda n: (n.dataset != "rts", _error(n)))
    counts: Counter[str] = Counter()
    named: list[Pretrained] = []
    for network in networks:
        counts[network.name] += 1
        count = counts[network.name]
        named.append(network if count == 1 else replace(network, name=f"{network.name} ({count})"))
    return named


def is_shown(network: Pretrained) -> bool:
    """Whether the network classifies one digit in a square image."""
    shape, config = network.config.in_shape, network.config
    square = len(shape) == 3 and shape[0] == 1 and shape[1] == shape[2]
    return square and config.classes == 10 and config.model != "locator"


def input_size(network: Pretrained) -> int:
    """Height and width of the network's input, in pixels."""
    return network.config.in_shape[-1]


def _error(network: Pretrained) -> float:
    return math.inf if network.test_error_percent is None else network.test_error_percent


def title(network: Pretrained) -> str:
    """The network's name in choosers and panels."""
    error = network.test_error_percent
    return network.name if error is None else f"{network.name}: {error:.2f} % error"


def facts(network: Pretrained) -> str:
    """What a panel says of a network: its error, the data set, its size."""
    count = sum(p.numel() for p in network.model.parameters())
    error = network.test_error_percent
    error_text = "" if error is None else f"{error:.2f} % error "
    return f"{error_text}on {network.dataset}; {count:,} parameters"


def pose_range(network: Pretrained) -> PoseRange | None:
    """The poses that the network was trained on; None if its data set is not one of ours."""
    known = network.dataset in DISTORTIONS.names()
    return DISTORTIONS.make(network.dataset).poses if known else None


def beside(networks: Sequence[Pretrained], dataset: str) -> list[Pretrained]:
    """The networks that can be shown beside one of a data set: those that read its images.

    The data set's own come first.
    """
    sizes = {input_size(n) for n in networks if n.dataset == dataset}
    fitting = [n for n in networks if input_size(n) in sizes]
    return sorted(fitting, key=lambda n: n.dataset != dataset)


def first_choice(networks: Sequence[Pretrained], dataset: str) -> list[str]:
    """The names of the one or two networks that are shown first for a data set.

    The data set's first one with a transformer, and one without: of the same data set if there is
    one, else of another one whose images are as large; of those the nearest in size.
    """
    here = [n for n in networks if n.dataset == dataset]
    first = next((n for n in here if n.config.has_transformer), here[0] if here else None)
    if first is None:
        return []
    others = [n for n in beside(networks, dataset) if n is not first]
    plain = [n for n in others if not n.config.has_transformer]
    plain.sort(
        key=lambda n: (
            n.dataset != dataset,
            abs(math.log(n.config.parameters / first.config.parameters)),
        )
    )
    second = plain or [n for n in others if n.dataset == dataset]
    return [n.name for n in [first, *second[:1]]]
