"""The trained networks that the demo can show."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

from spatial_transformer.errors import OptionError
from spatial_transformer.experiments.run import load_trained
from spatial_transformer.models.build import ModelConfig
from spatial_transformer.training.records import load_record

#: what to do where there are no weights at all
ADVICE = """stn train --data rts --model st_cnn --recipe demo
stn train --data rts --model cnn --recipe demo
stn demo runs/table1-demo/rts--st_cnn_affine--seed0 runs/table1-demo/rts--cnn--seed0"""


@dataclass(frozen=True)
class Network:
    """A trained classifier of one digit. ``error`` is its test error in percent, if known."""

    name: str
    dataset: str
    config: ModelConfig
    model: nn.Module
    error: float | None = None

    @property
    def size(self) -> int:
        """Height and width of its input, in pixels."""
        return self.config.in_shape[-1]

    @property
    def title(self) -> str:
        """What choosers and panels call it."""
        known = "" if self.error is None else f" ({self.error:.2f} % error)"
        return f"{self.name}{known}"

    def check(self) -> "Network":
        """Itself, if the demo can show it. Raises: OptionError."""
        shape = self.config.in_shape
        if len(shape) != 3 or shape[0] != 1 or shape[1] != shape[2] or self.config.classes != 10:
            raise OptionError(
                f"{self.name}: the demo shows networks that read one digit in a square image, "
                f"this one reads {shape} into {self.config.classes} classes"
            )
        return self


def network_of_run(run: Path) -> Network:
    """A network of one's own out of a run's folder or checkpoint, with the error in its record.

    Raises: CheckpointError; OptionError if it is not one that the demo can show.
    """
    trained = load_trained(run)
    config = trained.config
    folder = run if run.is_dir() else run.parent
    record = folder.parent / f"{config.name}.json"
    error = load_record(record).test_error_percent if record.is_file() else None
    return Network(config.name, config.dataset, config.model, trained.model, error).check()


def find_networks(runs: Sequence[Path] = ()) -> list[Network]:
    """Those of ``runs``, then the ones that the package brings, each under a name of its own.

    Raises: as :func:`network_of_run`.
    """
    found = [network_of_run(run) for run in runs]
    taken: dict[str, int] = {}
    named = []
    for network in found:
        count = taken[network.name] = taken.get(network.name, 0) + 1
        named.append(network if count == 1 else replace(network, name=f"{network.name} ({count})"))
    return named


def first_choice(networks: Sequence[Network], dataset: str) -> list[str]:
    """The names of the two that are shown first: one with a transformer, one without."""
    here = [n for n in networks if n.dataset == dataset]
    looking = [n for n in here if n.config.has_transformer]
    plain = [n for n in here if not n.config.has_transformer]
    first = (looking or plain)[:1]
    second = [n for n in plain + looking if n not in first][:1]
    return [n.name for n in first + second]
