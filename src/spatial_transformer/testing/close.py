"""The comparisons that the checkers share."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd.gradcheck import GradcheckError

#: of float64 results that should be equal
TOLERANCE = 1e-9


def assert_close(found: Tensor, wanted: Tensor, what: str, tolerance: float = TOLERANCE) -> None:
    """Raises: AssertionError saying ``what``, and by how much (a NaN is close to nothing, an
    infinite number to itself)."""
    off = torch.where(found == wanted, 0, found - wanted).abs().max().item()
    if not off <= tolerance:
        raise AssertionError(f"{what}: off by {off:g}, allowed {tolerance:g}")


def assert_gradients(function: Callable[..., Tensor], *inputs: Tensor) -> None:
    """First and second derivatives equal finite differences; inputs are float64.

    Raises: AssertionError.
    """
    options = {"eps": 1e-6, "atol": 1e-6, "rtol": 1e-5, "fast_mode": True}
    try:
        torch.autograd.gradcheck(function, inputs, **options)  # type: ignore[arg-type]
        if function(*inputs).requires_grad:
            torch.autograd.gradgradcheck(function, inputs, **options)  # type: ignore[arg-type]
    except GradcheckError as error:
        raise AssertionError(f"gradients are not those of finite differences: {error}") from error
