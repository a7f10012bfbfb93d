"""Weights in a safetensors file, checked before they are loaded."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from spatial_transformer.errors import CheckpointError, DivergenceError
from spatial_transformer.extras import require
from spatial_transformer.files import write_whole
from spatial_transformer.finite import not_finite, summary

#: format number of a folder of weights, in model.safetensors' header and in config.json
FORMAT = 1

#: most bytes of a file's header, which takes many times as much memory when parsed
MOST_HEADER = 2**20

_FORMAT_KEY = "spatial_transformer_format"
_DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8,
    "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip


def check_format(number: object, path: Path) -> None:
    """Check the format number of a file of weights.

    Raises:
        CheckpointError: If this version reads another format.
    """
    if str(number) != str(FORMAT):
        raise CheckpointError(f"{path}: weights of format {number}, this version reads {FORMAT}")


def save_weights(model: nn.Module, path: Path) -> None:
    """Write a model's parameters and buffers, atomically.

    Raises:
        DivergenceError: If they are NaN or infinite.
    """
    save = require("safetensors.torch", "pretrained").save

    if names := not_finite(model.state_dict()):
        raise DivergenceError(f"{path}: not written, the weights are not finite: {summary(names)}")
    weights = {name: tensor.cpu().contiguous() for name, tensor in model.state_dict().items()}
    header = {"format": "pt", _FORMAT_KEY: str(FORMAT)}
    data = save(weights, metadata=header)
    write_whole(path, lambda p: p.write_bytes(data))


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The file, its header checked.

    Raises:
        CheckpointError: If it is missing, broken or of another format; the message names it.
    """
    safetensors = require("safetensors", "pretrained")

    if not path.is_file():
        raise CheckpointError(f"{path}: no such file of weights")
    try:
        with path.open("rb") as start:
            declared = int.from_bytes(start.read(8), "little")
        if declared > MOST_HEADER:
            raise ValueError(f"its header has {declared} bytes, at most {MOST_HEADER} are read")
        with safetensors.safe_open(path, framework="pt") as file:
            check_format((file.metadata() or {}).get(_FORMAT_KEY), path)
            yield file
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path}: broken or not a safetensors file: {error}") from error


def check_weights(model: nn.Module, path: Path) -> None:
    """Check that a file has exactly the tensors of a model, which may be on the meta device.

    Their values are not read.

    Raises:
        CheckpointError: If a tensor is missing, unknown, or of another shape or dtype; the message
            names all of them.
    """
    with _opened(path) as file:
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
        stored = {
            name: _kind(part.get_shape(), _DTYPES.get(part.get_dtype(), part.get_dtype()))
            for name, part in slices.items()
        }
    expected = {name: _kind(t.shape, t.dtype) for name, t in model.state_dict().items()}
    differences = [f"{name} is missing" for name in expected if name not in stored]
    differences += [f"{name} is not the model's" for name in stored if name not in expected]
    for name in expected:
        if name in stored and stored[name] != expected[name]:
            differences.append(f"{name} is {stored[name]}, not {expected[name]}")
    if differences:
        raise CheckpointError(f"{path}: not the weights of this model: {'; '.join(differences)}")


def load_weights(model: nn.Module, path: Path) -> None:
    """Fill a model from a file that has exactly its tensors.

    Raises:
        CheckpointError: If the tensors are not the model's, or values are NaN or infinite.
    """
    check_weights(model, path)
    with _opened(path) as file:
        values = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if names := not_finite(values):
        raise CheckpointError(f"{path}: not finite: {summary(names)}")
    with torch.no_grad():
        model.load_state_dict(values)


def _kind(shape: Sequence[int], dtype: torch.dtype | str) -> str:
    return f"{tuple(shape)} {str(dtype).removeprefix('torch.')}"
