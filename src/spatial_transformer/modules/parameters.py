"""Parameter groups that give localisation networks a learning rate of their own."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from spatial_transformer.errors import OptionError
from spatial_transformer.modules.spatial_transformer import SpatialTransformer
from spatial_transformer.options import check_number


def localisation_parameters(model: nn.Module) -> Iterator[nn.Parameter]:
    """The parameters of every localisation network in ``model``, each once.

    Examples:
        >>> len(list(localisation_parameters(SpatialTransformer("fully_connected", "affine"))))
        8
    """
    ids: set[int] = set()
    for module in model.modules():
        if isinstance(module, SpatialTransformer):
            for parameter in module.localisation.parameters():
                if id(parameter) not in ids:
                    ids.add(id(parameter))
                    yield parameter


def param_groups(
    model: nn.Module, lr: float, localisation_lr_scale: float = 0.1
) -> list[dict[str, Any]]:
    """Two parameter groups for an optimiser: the network's and the localisation networks'.

    Args:
        model: A model with spatial transformers.
        lr: Learning rate of the network.
        localisation_lr_scale: Learning rate of the localisation networks, as a fraction of ``lr``.

    Returns:
        The groups "network" and "localisation", as optimisers take them.

    Raises:
        OptionError: If a lazy layer has no size yet, ``model`` is not a module, or a rate is not a
            number from 0 on (optimisers do not check those of groups).

    Note:
        Source: the paper's appendices A.4 (a tenth) and A.5 (1e-4).
    """
    rates = {"lr": lr, "localisation_lr_scale": localisation_lr_scale}
    for name, rate in rates.items():
        check_number(name, rate.item() if isinstance(rate, Tensor) else rate, "[0, 1e30]")
    check_number("lr * localisation_lr_scale", float(lr * localisation_lr_scale), "[0, 1e30]")
    if not isinstance(model, nn.Module):
        raise OptionError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    localisation = list(localisation_parameters(model))
    ids = {id(p) for p in localisation}
    network = [p for p in model.parameters() if id(p) not in ids]
    if any(is_lazy(p) for p in [*network, *localisation]):
        raise OptionError("the model has layers without a size yet: run one batch through it first")
    return [
        {"params": network, "lr": lr, "name": "network"},
        {"params": localisation, "lr": lr * localisation_lr_scale, "name": "localisation"},
    ]
