"""The comparison of an exported module with the original, at more sizes than the traced one."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from spatial_transformer.errors import ExportError, OptionError

#: input -> dynamic axis -> its label
Dynamic = Mapping[str, Mapping[int, str]]

#: largest difference between a module and its exported form; relative to the largest value of an
#: output, if that is beyond 1
TOLERANCE = 1e-5

#: axes with this label may have a size of 1; others 2 and more, as torch.export makes 1 a constant
BATCH = "batch"


class Case(NamedTuple):
    """Inputs to check an exported module on, and a description of them."""

    inputs: Sequence[Tensor]
    what: str


def smallest(label: str) -> int:
    """The smallest size of a dynamic axis, by its label."""
    return 1 if label == BATCH else 2


def check_axes(names: Sequence[str], inputs: Sequence[Tensor], dynamic: Dynamic) -> None:
    """Check the dynamic axes against the example inputs.

    Raises:
        OptionError: If ``dynamic`` names an input or an axis that does not exist, or an example's
            axis is too small to be traced as dynamic.
    """
    unknown = [name for name in dynamic if name not in names]
    if unknown:
        raise OptionError(
            f"dynamic names {', '.join(unknown)}, but the inputs are {', '.join(names)}"
        )
    for name, tensor in zip(names, inputs, strict=True):
        for axis, label in dynamic.get(name, {}).items():
            example = f"example {name} {tuple(tensor.shape)}"
            if axis not in range(tensor.dim()):
                raise OptionError(f"{example} has no axis {axis} ({label})")
            if tensor.shape[axis] < 2:
                raise OptionError(
                    f"{example}: axis {axis} ({label}) is to have any size, so the example's must "
                    "be 2 or more"
                )


def other_sizes(size: int, least: int) -> list[int]:
    """Sizes at which to check an axis that was traced at ``size``.

    A smaller one, if there is one, and two larger ones: one that 2, 3, 4, 6 and 12 divide and one
    that none of them does. What was computed for ``size`` and stored, such as which pixels are
    pooled, is wrong at one of them.

    Examples:
        >>> other_sizes(28, 2), other_sizes(4, 1), other_sizes(2, 2)
        ([18, 48, 49], [1, 12, 13], [12, 13])
    """
    smaller = 1 if least == 1 else max(least, 2 * size // 3)
    larger = -(-3 * size // 2 // 12) * 12
    return [smaller] * (smaller < size) + [larger, larger + 1]


def cases(
    names: Sequence[str],
    inputs: Sequence[Tensor],
    dynamic: Dynamic,
    more: Sequence[Sequence[Tensor]] = (),
) -> list[Case]:
    """The inputs that an exported module is checked on.

    The examples, the examples with each dynamic axis cut or repeated to other sizes, and ``more``.
    """
    result = [_as_it_is(inputs)]
    labels = dict.fromkeys(label for axes in dynamic.values() for label in axes.values())
    for label in labels:
        places = {n: [k for k, c in dynamic.get(n, {}).items() if c == label] for n in names}
        size = next(t.shape[k] for n, t in zip(names, inputs, strict=True) for k in places[n])
        where = " and ".join(f"axis {k} of {n}" for n in names for k in places[n])
        for other in other_sizes(size, smallest(label)):
            resized = []
            for name, tensor in zip(names, inputs, strict=True):
                for axis in places[name]:
                    tensor = repeated(tensor, axis, other)
                resized.append(tensor)
            result.append(Case(resized, f"{where} ({label}) at {other} instead of {size}"))
    return result + [_as_it_is(tensors) for tensors in more]


def _as_it_is(inputs: Sequence[Tensor]) -> Case:
    return Case(inputs, f"inputs of {', '.join(str(tuple(tensor.shape)) for tensor in inputs)}")


def repeated(tensor: Tensor, axis: int, size: int) -> Tensor:
    """A tensor with an axis of ``size``: its first entries, repeated where they are too few.

    Examples:
        >>> repeated(torch.tensor([[1, 2, 3]]), 1, 5)
        tensor([[1, 2, 3, 1, 2]])
    """
    return tensor.index_select(axis, torch.arange(size) % tensor.shape[axis])


def compare(
    module: nn.Module,
    exported: Callable[[Sequence[Tensor]], Sequence[Tensor]],
    cases: Sequence[Case],
) -> float:
    """The largest difference between a module and its exported form.

    That of an output with values beyond 1, such as scores, is relative to the largest of them.

    Raises:
        ExportError: If a difference is more than 1e-5, or either does not run; the message names
            the inputs.
    """
    module = copy.deepcopy(module).eval()
    name = type(module).__name__
    worst = 0.0
    for inputs, what in cases:
        try:
            with torch.no_grad():
                wanted = as_tuple(module(*inputs))
        except Exception as error:  # anything that the module raises
            raise ExportError(
                f"{name} itself does not run with {what}: {reason_of(error)}; nothing was written"
            ) from error
        try:
            outputs = exported(inputs)
        except Exception as error:  # each run time has its own errors
            raise ExportError(
                f"{name}: exported, it does not run with {what}: {reason_of(error)}; "
                "nothing was written"
            ) from error
        for a, b in zip(wanted, outputs, strict=True):
            difference = _difference(a, b)
            if isinstance(difference, str):
                raise ExportError(
                    f"{name}: exported, it gives {difference} with {what}; nothing was written"
                )
            if difference > TOLERANCE:
                raise ExportError(
                    f"{name}: exported, it differs by {difference:.2g}, which is more than "
                    f"{TOLERANCE:g}, with {what}; nothing was written"
                )
            worst = max(worst, difference)
    return worst


def _difference(expected: Tensor, actual: Tensor) -> float | str:
    """The largest difference, or in words one that is not a number."""
    if expected.shape != actual.shape:
        return f"{tuple(actual.shape)} instead of {tuple(expected.shape)}"
    if not torch.equal(expected.isnan(), actual.isnan()):
        return "other NaN"
    if not expected.numel():
        return 0.0
    scale = max(1.0, float(expected.double().nan_to_num(0, 0, 0).abs().max()))
    return float((expected.double() - actual.double()).nan_to_num().abs().max()) / scale


def as_tuple(output: Any) -> tuple[Tensor, ...]:
    """A module's output, one tensor or several, as a tuple."""
    return tuple(output) if isinstance(output, (tuple, list)) else (output,)


def reason_of(error: Exception) -> str:
    """An error's first paragraph: those of exporters and run times take pages."""
    return str(error).strip().split("\n\n")[0]
