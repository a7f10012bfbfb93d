"""The fused warps on a GPU, in Triton."""

import os
import sys
from importlib.util import find_spec

import torch
from torch import Tensor

from spatial_transformer.ops.torch_internals import constant_result


@constant_result
def available() -> tuple[bool, str]:
    """Whether the Triton kernels can run here, and the reason."""
    if find_spec("triton") is None:
        return False, "triton is not installed; it comes with torch's builds for GPUs"
    import triton

    if _interpreted():
        return True, f"Triton {triton.__version__} in its interpreter, on CPU: slow, for tests"
    if torch.cuda.is_available():
        return True, f"Triton {triton.__version__}, compiled for the GPU"
    return False, f"Triton {triton.__version__} is installed, but there is no GPU"


def unsupported_reason(image: Tensor, kernel: str) -> str | None:
    """What the Triton backend does not support about a call, or None."""
    if image.is_cuda or (image.device.type == "cpu" and _interpreted()):
        return None
    return f"images on {image.device.type}"


def _interpreted() -> bool:
    """Whether Triton's interpreter runs the kernels, which is fixed once they are loaded."""
    loaded = sys.modules.get(f"{__name__}.forward")
    if loaded is None:
        return os.environ.get("TRITON_INTERPRET", "0").lower() in ("1", "true", "on", "yes", "y")
    from triton.runtime.jit import JITFunction

    return not isinstance(loaded.forward_kernel, JITFunction)
