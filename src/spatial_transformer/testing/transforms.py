"""Properties that every transform must have."""

import copy
import pickle

import torch
from torch import Tensor

from spatial_transformer.coordinates import base_grid
from spatial_transformer.errors import TransformError
from spatial_transformer.testing.close import TOLERANCE, assert_close, assert_gradients
from spatial_transformer.transforms import Transform, as_transform


def near_identity(transform: Transform, batch: int = 2, spread: float = 0.05) -> Tensor:
    """Random thetas near the identity, float64, the same for each call: ``(batch, P)``."""
    source = torch.Generator().manual_seed(0)
    noise = torch.randn(batch, transform.num_params, generator=source, dtype=torch.float64)
    return transform.identity().double() + spread * noise


def check_shapes(transform: Transform) -> None:
    """Theta of width P, grids of every size, N transforms an image."""
    dims = transform.dims
    identity = transform.identity()
    assert identity.shape == (transform.num_params,), "identity() is not (P,)"
    theta = near_identity(transform, 3)
    for size in ((1,) * dims, (2, 5, 3)[-dims:]):
        grid = transform.grid(theta, size)
        assert grid.shape == (3, *size, dims), f"grid of {size} has shape {tuple(grid.shape)}"
        many = transform.grid(theta.unsqueeze(0), size)
        assert many.shape == (1, 3, *size, dims), "theta (B, N, P) does not give N grids"
        assert_close(many[0], grid, "N transforms differ from N calls")


def check_identity(transform: Transform) -> None:
    """The grid of ``identity()`` is the regular grid, for both settings of ``align_corners``."""
    if not transform.has_identity:
        return
    size = (4, 5, 7)[-transform.dims :]
    for align_corners in (False, True):
        grid = transform.grid(transform.identity()[None].double(), size, align_corners)
        regular = base_grid(size, align_corners, dtype=torch.float64)
        assert_close(grid[0], regular, "identity() is not the identity", 1e-6)


def check_batch(transform: Transform) -> None:
    """A batch gives the same as its members one by one."""
    theta = near_identity(transform, 3)
    size = (4, 3, 5)[-transform.dims :]
    batched = transform.grid(theta, size)
    for b in range(3):
        assert_close(
            batched[b : b + 1], transform.grid(theta[b : b + 1], size), "batch differs from loop"
        )


def check_gradient(transform: Transform) -> None:
    """First and second derivatives to theta against finite differences, float64."""
    size = (2, 3, 2)[-transform.dims :]
    theta = near_identity(transform, 1).requires_grad_()

    def grid(x: Tensor) -> Tensor:
        return transform.grid(x, size)

    assert_gradients(grid, theta)


def check_not_finite(transform: Transform) -> None:
    """NaN and infinity in theta give no finite point there, other images stay, gradients are 0."""
    size = (3, 4, 2)[-transform.dims :]
    good = near_identity(transform, 1)
    for bad in (torch.nan, torch.inf, -torch.inf):
        theta = torch.cat([good, good])
        theta[0] = bad
        theta.requires_grad_()
        grid = transform.grid(theta, size)
        assert not torch.isfinite(grid[0]).any(), "a theta that is not finite gives a finite grid"
        assert_close(grid[1:].detach(), transform.grid(good, size), "it changes other images")
        torch.where(torch.isfinite(grid), grid, 0).sum().backward()
        assert theta.grad is not None
        assert torch.equal(theta.grad[0], torch.zeros_like(theta.grad[0])), "gradient is not zero"
        assert torch.isfinite(theta.grad).all(), "NaN in the gradient"


def check_inverse(transform: Transform) -> bool:
    """``inverse`` inverts, for families that have one; returns whether it has."""
    theta = near_identity(transform)
    try:
        back = transform.inverse(theta)
    except TransformError:
        return False
    points = base_grid((5, 4, 3)[-transform.dims :], dtype=torch.float64).flatten(0, -2)[None] / 2
    points = points.expand(len(theta), -1, -1)
    there_and_back = transform.points(back, transform.points(theta, points))
    exact = hasattr(transform, "from_matrix")
    assert_close(there_and_back, points, "inverse does not undo", TOLERANCE if exact else 1e-3)
    return True


def check_compose(transform: Transform) -> bool:
    """``compose(a, b)`` is T_a after T_b, for families that have it; returns whether it has."""
    a, b = near_identity(transform), near_identity(transform).flip(0)
    try:
        both = transform.compose(a, b)
    except TransformError:
        return False
    points = base_grid((5, 4, 3)[-transform.dims :], dtype=torch.float64).flatten(0, -2)[None]
    points = points.expand(len(a), -1, -1)
    chained = transform.points(a, transform.points(b, points))
    assert_close(transform.points(both, points), chained, "compose is not T_a(T_b(p))")
    return True


def check_points(transform: Transform) -> None:
    """``points`` at the regular grid is ``grid``."""
    size = (3, 4, 5)[-transform.dims :]
    theta = near_identity(transform)
    points = base_grid(size, dtype=torch.float64).flatten(0, -2)
    mapped = transform.points(theta, points.expand(2, -1, -1))
    assert_close(mapped, transform.grid(theta, size).flatten(1, -2), "points() differs from grid()")


def check_copies(transform: Transform) -> None:
    """Copies by deepcopy, pickle and state_dict give the same grid."""
    theta = near_identity(transform)
    size = (3, 4, 5)[-transform.dims :]
    wanted = transform.grid(theta, size)
    for other in (copy.deepcopy(transform), pickle.loads(pickle.dumps(transform))):
        other.load_state_dict(transform.state_dict())
        assert torch.equal(other.grid(theta, size), wanted), "a copy gives another grid"


def check_half(transform: Transform) -> None:
    """Half-precision theta gives a float32 grid, and ``half()`` on the module does not round it."""
    size = (3, 4, 64)[-transform.dims :]
    theta = near_identity(transform).half()
    wanted = transform.grid(theta.float(), size)
    assert wanted.dtype == torch.float32, "the grid of a float32 theta is not float32"
    if not list(transform.parameters()):
        half = copy.deepcopy(transform).half()
        assert torch.equal(half.grid(theta, size), wanted), "half precision loses the grid"


#: property -> its check: the columns of the conformance table
CHECKS = {
    "shapes": check_shapes,
    "identity": check_identity,
    "batch": check_batch,
    "gradient": check_gradient,
    "not finite": check_not_finite,
    "points": check_points,
    "copies": check_copies,
    "half": check_half,
    "inverse": check_inverse,
    "compose": check_compose,
}


def check_transform(transform: Transform | str) -> dict[str, bool]:
    """Run all checks of a transform, for a test of your own.

    Args:
        transform: A ``Transform`` or a name of ``list_transforms``.

    Returns:
        Property -> whether the transform has it (only ``inverse`` and ``compose`` may be False, for
        families without them).

    Raises:
        AssertionError: If a property does not hold; the message says which.

    Examples:
        >>> from spatial_transformer.transforms import Affine
        >>> all(check_transform(Affine()).values())
        True
    """
    transform = as_transform(transform)
    return {name: check(transform) is not False for name, check in CHECKS.items()}
