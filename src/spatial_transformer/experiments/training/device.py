"""The device that a command runs on, by name."""

import torch

from spatial_transformer.errors import BackendError


def find_device(name: str) -> torch.device:
    """The device of a name: "auto" is the accelerator if there is one, else the CPU.

    Args:
        name: auto, cpu, cuda, cuda:1, mps, or whatever torch has here.

    Raises:
        BackendError: If there is no such device.

    Examples:
        >>> find_device("cpu")
        device(type='cpu')
    """
    there = torch.accelerator.is_available()
    accelerator = torch.accelerator.current_accelerator() if there else None
    if name == "auto":
        return accelerator or torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise BackendError(f"device {name!r} is not available here: {error}") from error
    counts = {"cpu": 1}
    if accelerator is not None:
        counts[accelerator.type] = torch.accelerator.device_count()
    if (device.index or 0) >= counts.get(device.type, 0):
        has = ", ".join(f"{count} {kind}" for kind, count in counts.items())
        raise BackendError(f"device {name!r} is not available here: torch finds {has}")
    return device
