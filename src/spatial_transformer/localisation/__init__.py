"""image -> theta: localisation networks, and the registry that names them."""

from typing import Any

from spatial_transformer.localisation.base import Localisation as Localisation
from spatial_transformer.localisation.convolutional import Convolutional as Convolutional
from spatial_transformer.localisation.fully_connected import FullyConnected as FullyConnected
from spatial_transformer.registry import Registry
from spatial_transformer.transforms import Transform

LOCALISATIONS: Registry[Localisation] = Registry("localisation network")
LOCALISATIONS.add("fully_connected", FullyConnected)
LOCALISATIONS.add("convolutional", Convolutional)


def make_localisation(name: str, transform: Transform | str, **options: Any) -> Localisation:
    """A localisation network by its registered name, initialised to the identity.

    Raises: UnknownNameError (listing the names), OptionError.

    >>> make_localisation("fully_connected", "attention", units=(8,)).num_params
    3
    """
    return LOCALISATIONS.make(name, transform=transform, **options)


def list_localisations() -> tuple[str, ...]:
    """The names that :func:`make_localisation` knows."""
    return LOCALISATIONS.names()
