"""Localisation networks, image -> theta, and their registry."""

from typing import Any, cast

from spatial_transformer.localisation.base import Localisation as Localisation
from spatial_transformer.localisation.convolutional import Convolutional as Convolutional
from spatial_transformer.localisation.fully_connected import FullyConnected as FullyConnected
from spatial_transformer.names import LocalisationName, TransformName
from spatial_transformer.registry import Registry
from spatial_transformer.transforms import Transform

LOCALISATIONS: Registry[Localisation] = Registry("localisation network")
LOCALISATIONS.add("fully_connected", FullyConnected)
LOCALISATIONS.add("convolutional", Convolutional)


def make_localisation(
    name: LocalisationName, transform: Transform | TransformName, **options: Any
) -> Localisation:
    """A localisation network by its registered name, initialised to the identity.

    Args:
        name: A name of ``list_localisations``.
        transform: The ``Transform`` whose theta is predicted, or its name.
        **options: Arguments of its class.

    Raises:
        UnknownNameError: If a name is not registered; the message lists the names.
        OptionError: If an option does not exist or has an invalid value.

    Examples:
        >>> make_localisation("fully_connected", "attention", units=(8,)).num_params
        3
    """
    return LOCALISATIONS.make(name, transform=transform, **options)


def list_localisations() -> tuple[LocalisationName, ...]:
    """The names that ``make_localisation`` knows."""
    return cast("tuple[LocalisationName, ...]", LOCALISATIONS.names())
