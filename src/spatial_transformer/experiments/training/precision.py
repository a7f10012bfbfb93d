"""Which arithmetic a processor has, and what is trained in where it lacks what was asked for."""

import warnings
from functools import cache

import torch

from spatial_transformer.ops.torch_internals import has_native_bfloat16_cpu


class PrecisionWarning(UserWarning):
    """A recipe's precision is emulated here, so training takes float32."""


def has_native_bfloat16(device: torch.device) -> bool:
    """Whether products of bfloat16 are faster than those of float32 on a device: on a CPU with
    AVX512-BF16 or AMX (or Arm's like) that oneDNN is there to use, or a GPU with bfloat16 of its
    own. Elsewhere they are emulated, at a tenth of the speed and less.
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
    """A recipe's precision (Lightning Fabric's name), or "32-true" instead of a bfloat16 that the
    device would emulate; that is said once.

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
