"""A context for evaluation mode, which restores every submodule's own mode."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put ``model`` into evaluation mode, and every submodule back into its own mode at the end.

    ``model.train()`` would unfreeze submodules that are in evaluation mode on purpose, such as
    batch norms with fixed statistics. Modes are restored after an exception as well.

    Examples:
        >>> model = nn.Sequential(nn.Dropout(), nn.BatchNorm1d(2).eval())
        >>> with evaluating(model):
        ...     [part.training for part in model]
        [False, False]
        >>> [part.training for part in model]
        [True, False]
    """
    modes = [(part, part.training) for part in model.modules()]
    try:
        model.eval()
        yield
    finally:
        for part, training in modes:  # parents first: a submodule's own mode has the last word
            part.train(training)
