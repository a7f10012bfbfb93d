"""The trained networks that the demo can show."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from spatial_transformer.errors import CheckpointError, OptionError
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
    networks += sorted(shipped, key=lambda n: n.dataset != "rts")  # the most telling ones first
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


def title(network: Pretrained) -> str:
    """The network's name in choosers and panels."""
    error = network.test_error_percent
    return network.name if error is None else f"{network.name}: {error:.2f} % error"


def first_choice(networks: Sequence[Pretrained], dataset: str) -> list[str]:
    """The names of the two networks of a data set that are shown first.

    One with a transformer and one without, of equal size if possible.
    """
    here = [n for n in networks if n.dataset == dataset]
    looking = [n for n in here if n.config.has_transformer]
    plain = [n for n in here if not n.config.has_transformer]
    sizes = {n.config.parameters for n in plain}
    looking.sort(key=lambda n: n.config.parameters not in sizes)
    first = (looking or plain)[:1]
    plain.sort(key=lambda n: n.config.parameters != first[0].config.parameters)
    second = [n for n in plain + looking if n not in first][:1]
    return [n.name for n in first + second]
