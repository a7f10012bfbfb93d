"""The errors that this library raises, under one base class.

Each also derives from the built-in a caller would expect (``ValueError``, ``RuntimeError``, ...),
so code that does not know this library still catches the right thing.
"""


class SpatialTransformerError(Exception):
    """Base of all errors of this library."""


class ShapeError(SpatialTransformerError, ValueError):
    """A tensor has the wrong rank, width or batch, or a size is invalid."""


class DTypeError(SpatialTransformerError, TypeError):
    """A tensor has a dtype that the operation does not support."""


class OptionError(SpatialTransformerError, ValueError):
    """An option has a value that does not exist or contradicts another option."""


class UnknownNameError(OptionError, KeyError):
    """A name is not in its registry; the message lists the ones that are."""

    def __str__(self) -> str:  # KeyError would print the message's repr
        return str(self.args[0]) if self.args else ""


class TransformError(SpatialTransformerError, ValueError):
    """A transform cannot do what was asked (an inverse or composition outside its family)."""


class BackendError(SpatialTransformerError, RuntimeError):
    """A backend that was named is not available, or does not support the call."""


class DataError(SpatialTransformerError, RuntimeError):
    """Data are missing, broken, or do not match their checksum."""


class CheckpointError(SpatialTransformerError, RuntimeError):
    """A checkpoint or record is broken or belongs to another run."""


class DivergenceError(SpatialTransformerError, ArithmeticError):
    """A loss, gradients or weights are NaN or infinite."""


class ExportError(SpatialTransformerError, RuntimeError):
    """A module cannot be exported, or its exported form gives other results."""
