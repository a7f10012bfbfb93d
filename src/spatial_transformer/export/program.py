"""A module as a torch.export program of plain ATen operators: none of ours, no C++ library."""

import copy
import inspect
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.nn.parameter import is_lazy

from spatial_transformer.errors import ExportError, OptionError, SpatialTransformerError
from spatial_transformer.export.sampling import DECOMPOSITIONS
from spatial_transformer.files import write_whole
from spatial_transformer.kernels.ops import TRACED_ONLY

#: by input, the axes that may have any size, and what they are called
Dynamic = Mapping[str, Mapping[int, str]]

#: largest difference between a module and what was exported of it; of an output with values
#: beyond 1, relative to the largest of them
TOLERANCE = 1e-5


def export_program(
    module: nn.Module, inputs: Sequence[Tensor], *, dynamic: Dynamic | None = None
) -> ExportedProgram:
    """Trace a module in eval mode, with the fused warps replaced by ATen operators.

    Args:
        inputs: examples, one for each argument of ``module.forward``; on the CPU, of a batch of
            2 or more (torch.export takes a size of 1 for a constant).
        dynamic: by argument, which axes may have any size, and what they are called; an axis of
            the same name is of the same size. The first axis of every input ("batch") if None.
    Raises: ExportError where the module cannot be traced (with torch.export's reason); OptionError.

    >>> import spatial_transformer as stn
    >>> layer = stn.SpatialTransformer("fully_connected", "affine")
    >>> _ = layer(torch.rand(2, 1, 8, 8))  # lazy layers learn their size
    >>> program = export_program(layer, [torch.rand(2, 1, 8, 8)])
    >>> program.module()(torch.rand(5, 1, 8, 8)).shape
    torch.Size([5, 1, 8, 8])
    """
    if any(is_lazy(p) for p in module.parameters()):
        raise ExportError(
            f"{type(module).__name__} has lazy layers that have seen no input yet: call it once"
        )
    names = argument_names(module, inputs)
    axes = dynamic_axes(names, dynamic)
    for name, tensor in zip(names, inputs, strict=True):
        for axis, label in axes.get(name, {}).items():
            if tensor.shape[axis] < 2:
                raise OptionError(
                    f"example {name} {tuple(tensor.shape)}: axis {axis} ({label}) is to have any "
                    "size, so the example's must be 2 or more"
                )
    every = {c for a in axes.values() for c in a.values()}
    symbols: dict[str, Any] = {c: Dim(c) if c == "batch" else Dim(c, min=2) for c in every}
    shapes = {n: {k: symbols[c] for k, c in axes.get(n, {}).items()} for n in names}
    # without gradients, layers take the plainest way through
    still = copy.deepcopy(module).eval().requires_grad_(False)
    traced_only = TRACED_ONLY.set(True)
    try:
        with torch.no_grad(), quietly():
            program = torch.export.export(still, tuple(inputs), dynamic_shapes=shapes, strict=False)
            program = program.run_decompositions(dict(DECOMPOSITIONS))
    except SpatialTransformerError:
        raise
    except Exception as error:  # torch.export's are of many kinds
        reason = str(error).strip().split("\n\n")[0]
        raise ExportError(f"{type(module).__name__} cannot be exported: {reason}") from error
    finally:
        TRACED_ONLY.reset(traced_only)
    ours = sorted({str(n.target) for n in program.graph.nodes if str(n.target).startswith("stn.")})
    if ours:
        raise ExportError(f"operators of ours are left in the graph: {', '.join(ours)}")
    return program


def dynamic_axes(names: Sequence[str], dynamic: Dynamic | None) -> Dynamic:
    """Which axes of each argument may have any size; the first of each if it is not said."""
    return {n: {0: "batch"} for n in names} if dynamic is None else dynamic


@contextmanager
def quietly() -> Iterator[None]:
    """Without what torch's exporters tell of themselves: their deprecations, and packages that are
    not there and not needed."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def argument_names(module: nn.Module, inputs: Sequence[Tensor]) -> list[str]:
    """The names of the arguments that ``inputs`` are. Raises: OptionError if they are too many."""
    names = list(inspect.signature(module.forward).parameters)
    if len(inputs) > len(names):
        raise OptionError(f"{len(inputs)} inputs for a forward of {', '.join(names)}")
    return names[: len(inputs)]


def save_program(
    module: nn.Module,
    path: str | Path,
    inputs: Sequence[Tensor],
    *,
    dynamic: Dynamic | None = None,
    more: Sequence[Sequence[Tensor]] = (),
) -> float:
    """Write a module as a ``.pt2`` file, for ``torch.export.load``; it needs nothing of ours.

    Args: as :func:`export_program`.
        more: further inputs that the file is checked on.
    Returns: the largest difference to the module found.
    Raises: as :func:`export_program`; ExportError where the file differs, and nothing is written.
    """
    program = export_program(module, inputs, dynamic=dynamic)
    difference = 0.0

    def write(file: Path) -> None:
        nonlocal difference
        with quietly():
            buffer = io.BytesIO()
            torch.export.save(program, buffer)
            file.write_bytes(buffer.getbuffer())
            loaded = torch.export.load(str(file)).module()
        given = examples(module, inputs, more, dynamic)
        difference = compare(module, lambda given: as_tuple(loaded(*given)), given)

    write_whole(Path(path), write)
    return difference


def as_tuple(output: Any) -> tuple[Tensor, ...]:
    """A module's output, one tensor or several."""
    return tuple(output) if isinstance(output, (tuple, list)) else (output,)


def examples(
    module: nn.Module,
    inputs: Sequence[Tensor],
    more: Sequence[Sequence[Tensor]],
    dynamic: Dynamic | None,
) -> list[Sequence[Tensor]]:
    """What an exported module is checked on: all inputs and, where the batch is dynamic, the first
    of each alone."""
    every = [inputs, *more]
    axes = dynamic_axes(argument_names(module, inputs), dynamic)
    if all(0 in axes.get(name, {}) for name in argument_names(module, inputs)):
        every += [[tensor[:1] for tensor in given] for given in every]
    return every


def compare(
    module: nn.Module,
    exported: Callable[[Sequence[Tensor]], Sequence[Tensor]],
    inputs: Sequence[Sequence[Tensor]],
) -> float:
    """The largest difference between a module and what was exported of it, on some inputs; of an
    output with values beyond 1, such as scores, relative to the largest of them.

    Raises: ExportError naming the figure where it is more than 1e-5, or why it does not run.
    """
    module = copy.deepcopy(module).eval()
    worst = 0.0
    for given in inputs:
        with torch.no_grad():
            wanted = as_tuple(module(*given))
        try:
            found = exported(given)
        except Exception as error:  # each run time has its own kinds
            shapes = ", ".join(str(tuple(t.shape)) for t in given)
            raise ExportError(f"exported, it does not run on {shapes}: {error}") from error
        for a, b in zip(wanted, found, strict=True):
            if a.shape != b.shape:
                shapes = f"{tuple(b.shape)} instead of {tuple(a.shape)}"
                raise ExportError(f"{type(module).__name__}: the exported graph gives {shapes}")
            if not torch.equal(a.isnan(), b.isnan()):
                raise ExportError(f"{type(module).__name__}: exported, it gives other NaN")
            scale = max(1.0, float(a.double().nan_to_num(0, 0, 0).abs().max()))
            difference = (a.double() - b.double()).nan_to_num().abs().max()
            worst = max(worst, float(difference) / scale)
    if worst > TOLERANCE:
        raise ExportError(
            f"{type(module).__name__}: exported, it differs by {worst:.2g}, which is more than "
            f"{TOLERANCE:g}; nothing was written"
        )
    return worst
