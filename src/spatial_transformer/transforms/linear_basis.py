"""The paper's generic class: T_theta = M_theta B, for any basis B, fixed or learnt."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from spatial_transformer.coordinates import on_cpu
from spatial_transformer.errors import OptionError, ShapeError
from spatial_transformer.sums import product
from spatial_transformer.transforms.base import Transform
from spatial_transformer.transforms.basis import as_like
from spatial_transformer.transforms.matrix import project


def homogeneous_features(points: Tensor) -> Tensor:
    """(x, y[, z], 1): the basis of equation (1)."""
    return torch.cat([points, torch.ones_like(points[..., :1])], dim=-1)


class LinearBasis(Transform):
    """T_theta(p) = M_theta b(p): a matrix that depends linearly on theta, times features of p.

    Args:
        features: b, from points ``(..., M, dims)`` to features ``(..., M, K)``: a function, or an
            ``nn.Module`` whose parameters are learnt with the network. Homogeneous coordinates by
            default, which makes this the affine family.
        dims: 2 or 3.
        parameters: How theta makes M, ``(P, rows, K)``: M = constant + sum_p theta_p parameters[p].
            By default theta is M itself, row by row.
        constant: ``(rows, K)``; zero by default.
        identity: The theta ``(P,)`` of the identity; found by least squares by default.
        projective: Whether M has a further row, by whose product the others are divided.

    Raises:
        ShapeError: If ``parameters``, ``constant`` or ``identity`` has another shape.
        OptionError: If no theta is the identity and none is given.

    Note:
        Source: the paper's section 3.2, T_theta = M_theta B, "to learn B for the task at hand".
        Coordinates: normalised.

    Examples:
        >>> t = LinearBasis()
        >>> t.identity()
        tensor([1., 0., 0., 0., 1., 0.])
    """

    name = "linear_basis"
    supported_dims = (2, 3)

    @on_cpu
    def __init__(
        self,
        features: Callable[[Tensor], Tensor] = homogeneous_features,
        *,
        dims: int = 2,
        parameters: Tensor | None = None,
        constant: Tensor | None = None,
        identity: Tensor | None = None,
        projective: bool = False,
    ) -> None:
        super().__init__(dims)
        self.features = features
        self.projective = projective
        rows = dims + projective
        with torch.no_grad():
            probe = self._features(_probe(dims))
        width = probe.shape[-1]
        if parameters is None:
            parameters = torch.eye(rows * width).unflatten(-1, (rows, width))
        if parameters.dim() != 3 or parameters.shape[1:] != (rows, width):
            raise ShapeError(
                f"parameters must be (P, {rows}, {width}), got {tuple(parameters.shape)}"
            )
        if constant is None:
            constant = torch.zeros(rows, width)
        if constant.shape != (rows, width):
            raise ShapeError(f"constant must be ({rows}, {width}), got {tuple(constant.shape)}")
        # no buffers: Module.half() would round them
        self._parameters_to_matrix = parameters.detach().cpu().double()
        self._constant = constant.detach().cpu().double()
        self._identity = self._find_identity() if identity is None else identity.detach().float()
        if self._identity.shape != (self.num_params,):
            raise ShapeError(
                f"identity must be ({self.num_params},), got {tuple(self._identity.shape)}"
            )

    def _features(self, points: Tensor) -> Tensor:
        """The features in the precision they are computed in: a module's is that of its weights."""
        if isinstance(self.features, nn.Module):
            points = points.to(next(self.features.parameters(), points).dtype)
        return self.features(points)

    def _find_identity(self) -> Tensor:
        points = _probe(self.dims).double()
        with torch.no_grad():
            features = self._features(points)
        eps = torch.finfo(features.dtype).eps
        features = features.double()
        wanted = homogeneous_features(points) if self.projective else points
        columns = torch.einsum("prk,mk->mrp", self._parameters_to_matrix, features)
        offset = torch.einsum("rk,mk->mr", self._constant, features)
        system, right = columns.flatten(0, 1), (wanted - offset).flatten()
        # features that differ only by rounding are equal
        rounding = eps * max(system.shape)
        theta = torch.linalg.lstsq(system, right, rcond=rounding, driver="gelsd").solution
        if (system @ theta - right).abs().max() > 1e-5:
            raise OptionError(
                "no theta of this basis is the identity: give identity= (the theta to start from)"
            )
        # without rounding errors, which differ from machine to machine; features may be of any size
        theta = torch.where((system * theta).abs().amax(0) < 1e-6, 0, theta)
        return torch.tensor([float(f"{entry:.7g}") for entry in theta.tolist()]).float()

    @property
    def num_params(self) -> int:
        """P, the number of entries of theta."""
        return len(self._parameters_to_matrix)

    def identity(self) -> Tensor:
        """The theta of the identity, ``(P,)``, float32, on the CPU."""
        return self._identity.clone()

    def _points(self, theta: Tensor, points: Tensor) -> Tensor:
        entries = as_like(self._parameters_to_matrix, theta).flatten(1)
        matrix = product(theta.unsqueeze(-2), entries).squeeze(-2)
        matrix = matrix.unflatten(-1, self._constant.shape) + as_like(self._constant, theta)
        features = self._features(points).to(theta.dtype)
        mapped = product(matrix, features.transpose(-1, -2)).transpose(-1, -2)
        if not self.projective:
            return mapped
        return project(mapped[..., : self.dims], mapped[..., self.dims :])


def _probe(dims: int) -> Tensor:
    """Points ``(64, dims)`` at which features are evaluated; float32, exact in any module."""
    generator = torch.Generator().manual_seed(0)
    return torch.rand(64, dims, generator=generator, dtype=torch.float32) * 2 - 1
