"""Checkpoints: all a run needs to go on exactly as if it had never stopped."""

import io
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch

from spatial_transformer.errors import CheckpointError, OptionError
from spatial_transformer.files import write_whole
from spatial_transformer.finite import not_finite, summary
from spatial_transformer.training.recipe import complete

FORMAT = 2


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint, whole or not at all."""
    buffer = io.BytesIO()  # torch's own writer tells of a full disk in riddles
    torch.save({"format": FORMAT, **state}, buffer)
    write_whole(path, lambda p: p.write_bytes(buffer.getbuffer()))


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read a checkpoint; holds only tensors and plain values, so no code is run.

    Raises: CheckpointError naming the file and what is wrong with it.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint")
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # unpickling garbage raises anything
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path}: broken or not a checkpoint: {reason}") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        found = state.get("format") if isinstance(state, dict) else type(state).__name__
        raise CheckpointError(f"{path}: checkpoint format {found!r}, this version reads {FORMAT}")
    try:
        state["run"] = complete(state["run"])
    except (KeyError, TypeError, OptionError) as error:
        raise CheckpointError(f"{path}: not the checkpoint of a run: {error}") from error
    return state


def check_finite(path: Path, state: dict[str, Any], constant: Collection[str] = ()) -> None:
    """That nothing a run would go on with is NaN or infinite, but for ``constant`` buffers.

    Raises: CheckpointError naming the file and the tensor.
    """
    parts = {k: state[k] for k in ("model", "averaged", "optimiser", "loss", "error")}
    masks = {f"{prefix}{name}" for prefix in ("model.", "averaged.module.") for name in constant}
    if names := [name for name in not_finite(parts) if name not in masks]:
        raise CheckpointError(f"{path}: not finite: {summary(names)}")
