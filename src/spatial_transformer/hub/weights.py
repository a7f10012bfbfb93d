"""Weights in a safetensors file: checked before they are loaded, and it is said what differs."""

from pathlib import Path

import torch
from torch import Tensor, nn

from spatial_transformer.errors import CheckpointError, DivergenceError
from spatial_transformer.files import write_whole
from spatial_transformer.finite import not_finite, summary

#: of a folder of weights, in the header of model.safetensors and in config.json
FORMAT = 1

_FORMAT_KEY = "spatial_transformer_format"


def check_format(found: object, path: Path) -> None:
    """Raises: CheckpointError."""
    if str(found) != str(FORMAT):
        raise CheckpointError(f"{path}: weights of format {found}, this version reads {FORMAT}")


def save_weights(model: nn.Module, path: Path) -> None:
    """Write a model's parameters and buffers, whole or not at all.

    Raises: DivergenceError where they are NaN or infinite.
    """
    from safetensors.torch import save

    if names := not_finite(model.state_dict()):
        raise DivergenceError(f"{path}: not written, the weights are not finite: {summary(names)}")
    weights = {name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()}
    header = {"format": "pt", _FORMAT_KEY: str(FORMAT)}
    data = save(weights, metadata=header)
    write_whole(path, lambda p: p.write_bytes(data))


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, by name. Raises: CheckpointError naming the file and what is wrong."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise CheckpointError(f"{path}: no such file of weights")
    try:
        with safe_open(path, framework="pt") as file:
            check_format((file.metadata() or {}).get(_FORMAT_KEY), path)
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path}: broken or not a safetensors file: {error}") from error


def load_weights(model: nn.Module, path: Path) -> None:
    """Fill a model from a file that has exactly its tensors.

    Raises: CheckpointError naming every tensor that is missing, unknown, or of another shape or
    dtype, or the first that is NaN or infinite.
    """
    found, wanted = read_weights(path), model.state_dict()
    differences = [f"{name} is missing" for name in wanted if name not in found]
    differences += [f"{name} is not the model's" for name in found if name not in wanted]
    for name in wanted:
        if name in found and _kind(found[name]) != _kind(wanted[name]):
            differences.append(f"{name} is {_kind(found[name])}, not {_kind(wanted[name])}")
    if differences:
        raise CheckpointError(f"{path}: not the weights of this model: {'; '.join(differences)}")
    if names := not_finite(found):
        raise CheckpointError(f"{path}: not finite: {summary(names)}")
    with torch.no_grad():
        model.load_state_dict(found)


def _kind(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"
