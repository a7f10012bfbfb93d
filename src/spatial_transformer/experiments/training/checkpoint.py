"""Checkpoints: the full state of a run, from which it resumes exactly."""

import io
import pickle
import pickletools
import re
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch

from spatial_transformer.errors import CheckpointError, OptionError
from spatial_transformer.experiments.training.recipe import complete
from spatial_transformer.files import read_at_most, write_whole
from spatial_transformer.finite import not_finite, summary

FORMAT = 2

#: most bytes of a checkpoint's pickle, which names the tensors; their values are separate
MOST_PICKLE = 2**19
#: the globals of such a pickle
_GLOBALS = re.compile(r"collections OrderedDict|torch\._utils _rebuild_tensor_v2|torch \w+Storage")


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint atomically."""
    buffer = io.BytesIO()  # torch's own writer hides a full disk in obscure errors
    torch.save({"format": FORMAT, **state}, buffer)
    write_whole(path, lambda p: p.write_bytes(buffer.getbuffer()))


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read a checkpoint; only tensors and plain values, so no code is run.

    Raises:
        CheckpointError: If the file is broken; the message names it.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint")
    try:
        _check_archive(path)
        state = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # unpickling garbage raises anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if isinstance(error, pickle.UnpicklingError):  # torch's advice is to trust it
            reason = "it holds more than tensors and plain values"
        raise CheckpointError(
            f"{path}: broken or not a checkpoint, such as stn train writes: {reason}"
        ) from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        number = state.get("format") if isinstance(state, dict) else type(state).__name__
        raise CheckpointError(f"{path}: checkpoint format {number!r}, this version reads {FORMAT}")
    try:
        state["run"] = complete(state["run"])
    except (KeyError, TypeError, OptionError) as error:
        raise CheckpointError(f"{path}: not the checkpoint of a run: {error}") from error
    return state


def check_finite(path: Path, state: dict[str, Any], constant: Collection[str] = ()) -> None:
    """Check that a run's state is finite, except for ``constant`` buffers.

    Raises:
        CheckpointError: If a tensor is NaN or infinite; the message names file and tensor.
    """
    parts = {k: state[k] for k in ("model", "averaged", "optimiser", "loss", "error")}
    masks = {f"{prefix}{name}" for prefix in ("model.", "averaged.module.") for name in constant}
    if names := [name for name in not_finite(parts) if name not in masks]:
        raise CheckpointError(f"{path}: not finite: {summary(names)}")


def _check_archive(path: Path) -> None:
    """Check that a checkpoint takes about as much memory as it has bytes.

    Nothing in it may be compressed, as in torch's own files, nor call anything that does not make
    tensors: torch considers some functions safe that allocate as much memory as they are told to.

    Raises:
        BadZipFile: If it is not a zip file.
        ValueError: If it would take much more memory.
    """
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{member.filename} is compressed")
            if not member.filename.endswith("data.pkl"):
                continue
            with archive.open(member) as file:
                data = read_at_most(file, MOST_PICKLE + 1)
            if len(data) > MOST_PICKLE:
                raise ValueError(f"{member.filename} has more than {MOST_PICKLE} bytes")
            for operation, name, _ in pickletools.genops(data):
                if "GLOBAL" in operation.name and not _GLOBALS.fullmatch(str(name)):
                    raise ValueError(f"{member.filename} asks for {name}, which is refused")
