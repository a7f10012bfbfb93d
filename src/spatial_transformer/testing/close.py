"""Comparisons shared by the checkers."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd.gradcheck import GradcheckError

#: for float64 results that should be equal
TOLERANCE = 1e-9


def assert_close(actual: Tensor, expected: Tensor, what: str, tolerance: float = TOLERANCE) -> None:
    """Check that two tensors are equal within ``tolerance``.

    Raises:
        AssertionError: If they are not; the message has ``what`` and the difference. A NaN is close
            to nothing, an infinite number to itself.
    """
    off = torch.where(actual == expected, 0, actual - expected).abs().max().item()
    if not off <= tolerance:
        raise AssertionError(f"{what}: off by {off:g}, allowed {tolerance:g}")


def assert_gradients(function: Callable[..., Tensor], *inputs: Tensor) -> None:
    """Check first and second derivatives against finite differences; inputs are float64.

    Raises:
        AssertionError: If they differ.
    """
    options = {"eps": 1e-6, "atol": 1e-6, "rtol": 1e-5, "fast_mode": True}
    try:
        torch.autograd.gradcheck(function, inputs, **options)  # type: ignore[arg-type]
        if function(*inputs).requires_grad:
            torch.autograd.gradgradcheck(function, inputs, **options)  # type: ignore[arg-type]
    except GradcheckError as error:
        raise AssertionError(f"gradients are not those of finite differences: {error}") from error
