"""Says when a transformer collapses: when what it shows leaves the image."""

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from spatial_transformer.errors import OptionError
from spatial_transformer.modules.spatial_transformer import SpatialTransformer
from spatial_transformer.transforms.regularisers import outside_fraction


class CollapseWarning(UserWarning):
    """Most of what a spatial transformer samples lies outside its image."""


class CollapseMonitor:
    """Watches every spatial transformer of a model while it trains.

    It keeps a running mean of the part of each output that lies outside the image, and warns once
    a transformer when that passes ``threshold``. Use it as a context manager, or ``close()`` it.

    Args:
        threshold: part of the output, 0 to 1.
        smoothing: weight of the newest batch in the running mean.
    Raises: OptionError if the model has no spatial transformer.

    >>> model = nn.Sequential(SpatialTransformer("fully_connected", "affine"))
    >>> with CollapseMonitor(model) as monitor:
    ...     _ = model(torch.rand(2, 1, 8, 8))
    >>> monitor.outside
    {'0': 0.0}
    """

    def __init__(self, model: nn.Module, threshold: float = 0.5, smoothing: float = 0.05) -> None:
        self.threshold, self.smoothing = threshold, smoothing
        #: the running mean by the transformer's name in the model
        self.outside: dict[str, float] = {}
        self._warned: set[str] = set()
        found = [(n, m) for n, m in model.named_modules() if isinstance(m, SpatialTransformer)]
        if not found:
            raise OptionError("the model has no spatial transformer to watch")
        # theta is what the localisation network returns (a cascade: each of its stages)
        self._hooks = []
        self._layers = dict(found)
        for name, layer in found:
            local = layer.localisation
            for network in local if isinstance(local, nn.ModuleList) else [local]:
                self._hooks.append(network.register_forward_hook(self._hook(name)))

    def _hook(self, name: str) -> Any:
        def hook(module: nn.Module, args: Any, theta: Tensor) -> None:
            self._see(name, theta.detach())

        return hook

    def _see(self, name: str, theta: Tensor) -> None:
        layer = self._layers[name]
        with torch.no_grad():
            grid = layer.transform.grid(theta, (8,) * layer.transform.dims)
            now = outside_fraction(grid.flatten(0, -layer.transform.dims - 2)).mean().item()
        old = self.outside.get(name)
        self.outside[name] = now if old is None else old + self.smoothing * (now - old)
        if self.outside[name] > self.threshold and name not in self._warned:
            self._warned.add(name)
            warnings.warn(
                f"spatial transformer {name!r}: {self.outside[name]:.0%} of what it samples lies "
                "outside the image. Lower localisation_lr_scale, bound the transform, or choose "
                "padding='border' or 'fill'",
                CollapseWarning,
                stacklevel=2,
            )

    def close(self) -> None:
        """Stop watching."""
        for hook in self._hooks:
            hook.remove()

    def __enter__(self) -> "CollapseMonitor":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
