"""A monitor that warns when a spatial transformer collapses during training.

That is when its output leaves the image or is the same part of every image, or when its theta is
NaN or infinite.
"""

import warnings
from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn

from spatial_transformer.errors import OptionError
from spatial_transformer.modules.spatial_transformer import SpatialTransformer
from spatial_transformer.options import check_count, check_number
from spatial_transformer.transforms.regularisers import outside_fraction

#: checks in a row with the same theta for every image before a warning
PATIENCE = 20


class CollapseWarning(UserWarning):
    """A spatial transformer has collapsed.

    Most of what it samples lies outside its image, or it predicts the same theta for every image,
    or one that is not finite.
    """


class CollapseMonitor:
    """Monitor every spatial transformer of a model during training.

    It tracks a running mean of the fraction of each output that lies outside the image, and warns
    once a transformer when that passes ``threshold``. It also warns once when a learnt theta is
    exactly the same for every image of a batch, for a while: the localisation network is dead (its
    rectifiers give nothing but zero), and will not recover. Nor will one whose theta is NaN or
    infinite: that reads as outside, with gradient zero, so the loss stays finite. This is reported
    at once. Use it as a context manager, or ``close()`` it.

    Args:
        model: The model whose spatial transformers are monitored.
        threshold: Fraction of the output, 0 to 1.
        smoothing: Weight of the newest batch in the running mean, above 0 and up to 1.
        every: Check every n-th batch only.

    Raises:
        OptionError: If the model has no spatial transformer, or a number is out of range.

    Examples:
        >>> model = nn.Sequential(SpatialTransformer("fully_connected", "affine"))
        >>> with CollapseMonitor(model) as monitor:
        ...     _ = model(torch.rand(2, 1, 8, 8))
        >>> monitor.outside
        {'0': 0.0}
    """

    def __init__(
        self, model: nn.Module, threshold: float = 0.5, smoothing: float = 0.05, every: int = 1
    ) -> None:
        self.threshold = check_number("threshold", threshold, "[0, 1]")
        self.smoothing = check_number("smoothing", smoothing, "(0, 1]")
        self.every = check_count("every", every)
        #: the running mean by the transformer's name in the model
        self.outside: dict[str, float] = {}
        self._warned: set[tuple[str, str]] = set()
        self._calls: Counter[str] = Counter()
        #: the theta of the layer's current call, composed of the stages so far
        self._theta: dict[str, Tensor] = {}
        self._same: Counter[nn.Module] = Counter()
        layers = [(n, m) for n, m in model.named_modules() if isinstance(m, SpatialTransformer)]
        if not layers:
            raise OptionError("the model has no spatial transformer to watch")
        # hooks read values and count, which compiled graphs cannot
        eager: Any = torch.compiler.disable
        self._hooks = []
        self._layers = dict(layers)
        for name, layer in layers:
            self._hooks.append(layer.register_forward_pre_hook(eager(self._begin(name))))
            self._hooks.append(layer.register_forward_hook(eager(self._end(name))))
            # theta is what the localisation network returns; a cascade composes its stages'
            local = layer.localisation
            for network in local if isinstance(local, nn.ModuleList) else [local]:
                self._hooks.append(network.register_forward_hook(eager(self._stage(name))))

    def _begin(self, name: str) -> Any:
        def hook(layer: nn.Module, args: Any) -> None:
            self._calls[name] += 1
            self._theta.pop(name, None)

        return hook

    def _stage(self, name: str) -> Any:
        def hook(network: nn.Module, args: Any, theta: Tensor) -> None:
            if self._hooks and self._calls[name] % self.every == 0:
                theta, before = theta.detach(), self._theta.get(name)
                self._compare(name, network, theta)
                if before is not None:
                    theta = self._layers[name].transform.refine(before, theta)
                self._theta[name] = theta

        return hook

    def _end(self, name: str) -> Any:
        def hook(layer: nn.Module, args: Any, output: Any) -> None:
            if name in self._theta:
                self._see(name, self._theta.pop(name))

        return hook

    def _see(self, name: str, theta: Tensor) -> None:
        layer = self._layers[name]
        with torch.no_grad():
            grid = layer.transform.grid(theta, (8,) * layer.transform.dims)
            now = outside_fraction(grid.flatten(0, -layer.transform.dims - 2)).mean().item()
        old = self.outside.get(name)
        self.outside[name] = now if old is None else old + self.smoothing * (now - old)
        if self.outside[name] > self.threshold:
            self._warn(
                name,
                f"{self.outside[name]:.0%} of what it samples lies outside the image",
                "Lower localisation_lr_scale, bound the transform, or choose padding='border' or "
                "'fill'",
            )

    def _compare(self, name: str, network: nn.Module, theta: Tensor) -> None:
        finite = theta.isfinite().flatten(1).all(1)
        if not bool(finite.all()):
            self._warn(
                name,
                f"its theta is NaN or infinite for {int((~finite).sum())} of {len(theta)} images",
                "Look for NaN and infinity in the images and in the weights: a localisation "
                "network whose weights are NaN is dead, and trains no more",
            )
        if len(theta) < 2:
            return
        identity = self._layers[name].transform.identity().to(theta)
        # at initialisation theta is the identity for every image
        learnt = bool((theta[0] != identity).any())
        same = learnt and torch.equal(theta, theta[:1].expand_as(theta))
        self._same[network] = self._same[network] + 1 if same else 0
        if self._same[network] >= PATIENCE:
            self._warn(
                name,
                "it predicts the same theta for every image",
                "Its localisation network is dead: train anew with a lower localisation_lr_scale, "
                "or a longer warm-up",
            )

    def _warn(self, name: str, what: str, cure: str) -> None:
        if (name, cure) not in self._warned:
            self._warned.add((name, cure))
            warnings.warn(
                f"spatial transformer {name!r}: {what}. {cure}", CollapseWarning, stacklevel=2
            )

    def close(self) -> None:
        """Stop monitoring, copies of the model included."""
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()

    def __enter__(self) -> "CollapseMonitor":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
