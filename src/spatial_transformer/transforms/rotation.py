"""Rotations in space by rotation vectors: the axis times the angle in radians."""

import torch
from torch import Tensor


def rotation_matrix(vector: Tensor) -> Tensor:
    """A rotation vector ``(..., 3)`` as a matrix ``(..., 3, 3)``; smooth (to any order) at zero.

    Note:
        Source: Rodrigues' formula, R = I + a K + b K^2, a = sin(r) / r, b = (1 - cos r) / r^2.
    """
    # beyond this, neighbouring floats are more than a turn apart, and squares may overflow
    longest = 8 / torch.finfo(vector.dtype).eps
    vector = vector.clamp(-longest, longest)
    squared = (vector * vector).sum(-1)
    small = squared < 1e-3
    # the unused branch and its derivative must be finite
    r = torch.where(small, 1, squared).sqrt()
    x = torch.where(small, squared, 0)
    a = torch.where(small, 1 - x / 6 * (1 - x / 20 * (1 - x / 42 * (1 - x / 72))), torch.sin(r) / r)
    b = torch.where(
        small,
        0.5 - x / 24 * (1 - x / 30 * (1 - x / 56 * (1 - x / 90))),
        2 * (torch.sin(r / 2) / r) ** 2,
    )
    p, q, s = vector.unbind(-1)
    zero = torch.zeros_like(p)
    k = torch.stack([zero, -s, q, s, zero, -p, -q, p, zero], dim=-1).unflatten(-1, (3, 3))
    square = (k.unsqueeze(-1) * k.unsqueeze(-3)).sum(-2)
    eye = torch.eye(3, dtype=vector.dtype, device=vector.device)
    return eye + a[..., None, None] * k + b[..., None, None] * square


def rotation_vector(matrix: Tensor) -> Tensor:
    """The shortest rotation vector of ``(..., 3, 3)``: ``(..., 3)``, by way of a quaternion."""
    m = [[matrix[..., i, j] for j in range(3)] for i in range(3)]
    # four ways to the quaternion (w, x, y, z), each exact but where its own entry is near zero
    w = 1 + m[0][0] + m[1][1] + m[2][2]
    x = 1 + m[0][0] - m[1][1] - m[2][2]
    y = 1 - m[0][0] + m[1][1] - m[2][2]
    z = 1 - m[0][0] - m[1][1] + m[2][2]
    wx, wy, wz = m[2][1] - m[1][2], m[0][2] - m[2][0], m[1][0] - m[0][1]
    xy, xz, yz = m[0][1] + m[1][0], m[0][2] + m[2][0], m[1][2] + m[2][1]
    ways = torch.stack(
        [
            torch.stack([w, wx, wy, wz], -1),
            torch.stack([wx, x, xy, xz], -1),
            torch.stack([wy, xy, y, yz], -1),
            torch.stack([wz, xz, yz, z], -1),
        ],
        dim=-2,
    )
    best = torch.stack([w, x, y, z], -1).argmax(-1)
    chosen = ways.gather(-2, best[..., None, None].expand(*best.shape, 1, 4)).squeeze(-2)
    q = chosen / chosen.norm(dim=-1, keepdim=True)
    q = torch.where(q[..., :1] < 0, -q, q)
    squared = (q[..., 1:] ** 2).sum(-1, keepdim=True)
    small = squared < 1e-12
    length = torch.where(small, 1, squared).sqrt()
    factor = torch.where(small, 2 / q[..., :1], 2 * torch.atan2(length, q[..., :1]) / length)
    return factor * q[..., 1:]
