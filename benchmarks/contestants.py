"""Who is compared with whom: the same warp, each in its own terms.

A step is one forward pass and the gradients that are wanted: none ("forward"), to the
transformation ("theta"), or to the image as well ("full"). What a contestant cannot do it is not
asked to.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import cv2
import kornia.geometry.transform as kornia
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

import spatial_transformer as stn
from spatial_transformer.ops.backend import resolve_backend
from spatial_transformer.samplers import as_kernel

#: which gradients a step takes: to the image, to theta
STEPS = {"forward": (False, False), "theta": (False, True), "full": (True, True)}

Warp = Callable[[Tensor, Tensor, Sequence[int]], Tensor]


@dataclass(frozen=True)
class Case:
    """A batch of square (cubic) images and what they are warped to."""

    batch: int
    channels: int
    size: int
    out: int
    dims: int = 2
    channels_last: bool = False

    @property
    def name(self) -> str:
        """``64x48x32->32 channels_last``: batch x channels x input -> output."""
        cubed = "^3" if self.dims == 3 else ""
        name = f"{self.batch}x{self.channels}x{self.size}{cubed}->{self.out}{cubed}"
        return name + (" channels_last" if self.channels_last else "")

    @property
    def transform(self) -> stn.Affine:
        return stn.Affine(dims=self.dims)

    @property
    def out_size(self) -> list[int]:
        return [self.out] * self.dims

    def laid_out(self, tensor: Tensor) -> Tensor:
        if not self.channels_last:
            return tensor
        layout = torch.channels_last if self.dims == 2 else torch.channels_last_3d
        return tensor.contiguous(memory_format=layout)

    def image(self) -> Tensor:
        return self.laid_out(torch.rand(self.batch, self.channels, *[self.size] * self.dims))

    def gradient(self) -> Tensor:
        """What comes back from the next layer; laid out as the image is."""
        return self.laid_out(torch.randn(self.batch, self.channels, *self.out_size))

    def theta(self) -> Tensor:
        identity = self.transform.identity()
        return identity + 0.2 * torch.randn(self.batch, len(identity))


CASES = [
    Case(256, 1, 28, 28),
    Case(256, 1, 40, 40),
    Case(256, 1, 60, 30),
    Case(64, 48, 32, 32),
    Case(64, 48, 32, 32, channels_last=True),
    Case(32, 64, 56, 28),
    Case(32, 64, 56, 28, channels_last=True),
    Case(16, 3, 448, 224),
    Case(8, 3, 512, 512),
    Case(1, 3, 1024, 1024),
    Case(4, 1, 96, 96, dims=3),
]


def with_ours(image: Tensor, theta: Tensor, size: Sequence[int]) -> Tensor:
    return stn.warp(image, theta, "affine" if image.dim() == 4 else stn.Affine(dims=3), size)


def with_torch(image: Tensor, matrix: Tensor, size: Sequence[int]) -> Tensor:
    grid = F.affine_grid(matrix, [*image.shape[:2], *size], align_corners=False)
    return F.grid_sample(image, grid, align_corners=False)


def with_kornia(image: Tensor, pixels: Tensor, size: Sequence[int]) -> Tensor:
    # its function for an affine map; it is given its own kind of matrix, from input to output in
    # pixels, which it inverts, and the gradient is to that matrix
    warp: Any = kornia.warp_affine if image.dim() == 4 else kornia.warp_affine3d
    return warp(image, pixels, tuple(size), align_corners=False)


def with_opencv(images: np.ndarray, pixels: np.ndarray, size: Sequence[int]) -> np.ndarray:
    # (B, H, W[, C]): its own layout, one image after the other. Coordinates may be rounded to
    # 1/32 pixel.
    result = np.empty((len(images), *size, *images.shape[3:]), np.float32)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    for image, matrix, to in zip(images, pixels, result, strict=True):
        cv2.warpAffine(image, matrix, (size[1], size[0]), dst=to, flags=flags)
    return result


def to_pixels(size: int, dims: int, align_corners: bool) -> Tensor:
    """The homogeneous matrix from normalised coordinates to pixels, float64."""
    half = torch.tensor((size - 1 if align_corners else size) / 2, dtype=torch.float64)
    matrix = half * torch.eye(dims + 1, dtype=torch.float64)
    matrix[:, -1] = (size - 1) / 2
    matrix[-1, -1] = 1
    return matrix


def pixel_matrix(case: Case, theta: Tensor, align_corners: bool = False) -> Tensor:
    """theta from output to input in pixels: homogeneous, float64."""
    matrix = theta.double().unflatten(1, (case.dims, case.dims + 1))
    last = torch.eye(case.dims + 1, dtype=torch.float64)[-1:].expand(case.batch, 1, -1)
    matrix = torch.cat([matrix, last], 1)
    out = torch.linalg.inv(to_pixels(case.out, case.dims, align_corners))
    return to_pixels(case.size, case.dims, align_corners) @ matrix @ out


def one_step(
    warp: Warp, image: Tensor, maps: Tensor, size: Sequence[int], gradient: Tensor
) -> tuple[Tensor, ...]:
    """One forward pass and the gradients to what wants them: all that it makes."""
    warped = warp(image, maps, size)
    leaves = [x for x in (image, maps) if x.requires_grad]
    found = torch.autograd.grad(warped, leaves, gradient) if leaves else ()
    return (warped.detach(), *found)


def contestants(case: Case, step: str, compiled: bool = True) -> dict[str, Callable[[], object]]:
    """One call of each is one step of the same warp; ``compiled`` may leave torch.compile out."""
    image, theta, gradient = case.image(), case.theta(), case.gradient()
    needs_image_grad, theta_too = STEPS[step]
    torch_map = theta.unflatten(1, (case.dims, case.dims + 1))
    # kornia's 3-D warp normalises pixels as with align_corners=True, whatever it is told
    kornia_map = torch.linalg.inv(pixel_matrix(case, theta, align_corners=case.dims == 3))
    entrants: dict[str, tuple[Warp, Tensor]] = {
        "spatial_transformer": (with_ours, theta),
        "torch": (with_torch, torch_map),
        "kornia": (with_kornia, kornia_map[:, :-1].float()),
    }
    if compiled:
        entrants["torch.compile"] = (torch.compile(with_torch, dynamic=False), torch_map)
    out: dict[str, Callable[[], object]] = {
        name: partial(
            one_step,
            warp,
            image.clone().requires_grad_(needs_image_grad),
            maps.clone().requires_grad_(theta_too),
            case.out_size,
            gradient,
        )
        for name, (warp, maps) in entrants.items()
    }
    if step == "forward" and case.dims == 2:
        pixels = pixel_matrix(case, theta)[:, :-1].numpy()
        its = np.ascontiguousarray(image.permute(0, 2, 3, 1).numpy())
        if case.channels == 1:
            its = its[..., 0]
        out["OpenCV"] = partial(with_opencv, its, pixels, case.out_size)
    return out


def check(case: Case, step: str, entrants: dict[str, Callable[[], object]]) -> None:
    """Raises: RuntimeError where one does not compute what torch does (on random pixels)."""
    truth = entrants["torch"]()
    assert isinstance(truth, tuple)
    for name, function in entrants.items():
        found = function()
        if isinstance(found, np.ndarray):
            warped = torch.from_numpy(found)
            warped = warped[:, None] if case.channels == 1 else warped.permute(0, 3, 1, 2)
            pairs = [(warped, truth[0], 1e-2)]
        else:
            assert isinstance(found, tuple)
            pairs = [(found[0], truth[0], 1e-4)]
            if step == "full":
                pairs.append((found[1], truth[1], 1e-3))
            if step != "forward" and name != "kornia":  # whose gradient is to another matrix
                ours, its = found[-1].flatten(1), truth[-1].flatten(1)
                # a sum over random pixels, of which rounding moves a few to the next cell
                pairs.append((ours / its.norm(), its / its.norm(), 0.2))
        for one, other, limit in pairs:
            error = float((one - other).abs().mean())
            if not error < limit:
                raise RuntimeError(f"{case.name} {step}: {name} is off by {error} on average")


def backend_of_ours(case: Case) -> str:
    """What ``backend="auto"`` runs for this case."""
    return resolve_backend("auto", case.image(), as_kernel("bilinear"), None)
