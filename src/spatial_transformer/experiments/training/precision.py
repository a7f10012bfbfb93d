"""The arithmetic that a processor supports natively, and the precision to train in."""

import warnings
from functools import cache

import torch

from spatial_transformer.ops.torch_internals import has_native_bfloat16_cpu


class PrecisionWarning(UserWarning):
    """A recipe's precision is emulated here, so training takes float32."""


def has_native_bfloat16(device: torch.device) -> bool:
    """Whether products of bfloat16 are faster than those of float32 on a device.

    That is on a CPU with AVX512-BF16, AMX or Arm's bfloat16 instructions that oneDNN can use, or a
    GPU with native bfloat16. Elsewhere they are emulated, at a tenth of the speed or less.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    onednn = torch.backends.mkldnn
    if not (onednn.is_available() and onednn.enabled):
        return False
    return has_native_bfloat16_cpu()


def native_precision(precision: str, device: torch.device) -> str:
    """A recipe's precision, or "32-true" instead of a bfloat16 that the device would emulate.

    Both are Lightning Fabric's names; the replacement gives a warning.

    Examples:
        >>> native_precision("32-true", torch.device("cpu"))
        '32-true'
    """
    if precision.startswith("bf16") and not has_native_bfloat16(device):
        _say_once(precision, str(device))
        return "32-true"
    return precision


@cache
def _say_once(precision: str, device: str) -> None:
    warnings.warn(
        f"{device} has no bfloat16 of its own: training in float32 instead of {precision}",
        PrecisionWarning,
        stacklevel=4,
    )
