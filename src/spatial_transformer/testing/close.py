"""The comparison that the checkers share."""

from torch import Tensor

#: of float64 results that should be equal
TOLERANCE = 1e-9


def assert_close(found: Tensor, wanted: Tensor, what: str, tolerance: float = TOLERANCE) -> None:
    """Raises: AssertionError saying ``what``, and by how much (a NaN is never close)."""
    off = (found - wanted).abs().max().item()
    if not off <= tolerance:
        raise AssertionError(f"{what}: off by {off:g}, allowed {tolerance:g}")
