"""Export as a torch.export program of plain ATen operators, without this package's."""

import copy
import inspect
import io
import logging
import warnings
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.nn.parameter import is_lazy

from spatial_transformer.errors import ExportError, OptionError, SpatialTransformerError
from spatial_transformer.export.check import (
    BATCH,
    Dynamic,
    as_tuple,
    cases,
    check_axes,
    compare,
    reason_of,
    smallest,
)
from spatial_transformer.export.sampling import ALL_DIMS, decompositions
from spatial_transformer.files import write_whole
from spatial_transformer.ops.backend import TRACED_ONLY

#: bound of every dynamic size, as torch 2.6 refuses sizes up to the largest integer
LARGEST = 2**31 - 1


def export_program(
    module: nn.Module,
    inputs: Sequence[Tensor],
    *,
    dynamic: Dynamic | None = None,
    grid_sample: bool | Collection[int] = True,
) -> ExportedProgram:
    """Trace a module in eval mode, with the fused warps replaced by ATen operators.

    The program holds the module's weights, and nothing of ``inputs``.

    Args:
        module: The module; its own mode and weights are unchanged.
        inputs: Examples, one for each argument of ``module.forward``; on the CPU, with a batch of 2
            or more (torch.export treats a size of 1 as a constant).
        dynamic: By argument, which axes are dynamic, and their labels; axes of the same label have
            the same size. The first axis of every input ("batch") if None. A batch may be 1, other
            axes 2 or more.
        grid_sample: Whether ``grid_sample`` may be used, or the numbers of image dimensions (2, 3)
            in which it may; elsewhere it is replaced by gathers, also where the module itself calls
            it.

    Raises:
        ExportError: If the module has lazy layers without a size, or torch.export cannot trace it.
        OptionError: If ``dynamic`` or ``inputs`` do not fit the module's arguments.

    Examples:
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
    check_axes(names, inputs, axes)
    labels = {label for places in axes.values() for label in places.values()}
    symbols: dict[str, Any] = {c: Dim(c, min=smallest(c), max=LARGEST) for c in labels}
    shapes = {n: {k: symbols[c] for k, c in axes.get(n, {}).items()} for n in names}
    if isinstance(grid_sample, bool):
        grid_sample = ALL_DIMS if grid_sample else ()
    # without gradients, layers use their simplest code
    still = copy.deepcopy(module).eval().requires_grad_(False)
    traced_only = TRACED_ONLY.set(True)
    try:
        with torch.no_grad(), quietly():
            program = torch.export.export(still, tuple(inputs), dynamic_shapes=shapes, strict=False)
            program = program.run_decompositions(decompositions(grid_sample))
    except SpatialTransformerError:
        raise
    except Exception as error:  # torch.export raises many classes
        raise ExportError(
            f"{type(module).__name__} cannot be exported: {reason_of(error)}"
        ) from error
    finally:
        TRACED_ONLY.reset(traced_only)
    ours = sorted({str(n.target) for n in program.graph.nodes if str(n.target).startswith("stn.")})
    if ours:
        raise ExportError(f"operators of ours are left in the graph: {', '.join(ours)}")
    _forget(program)
    return program


def _forget(program: ExportedProgram) -> None:
    """Drop what would be written into files and is not the module's.

    These are the examples, and the unused parts of the storage of buffers and constants.
    """
    program._example_inputs = None  # the property's setter refuses None in torch 2.6
    for tensors in (program.state_dict, program.constants):
        for name, tensor in tensors.items():
            if not isinstance(tensor, Tensor) or isinstance(tensor, nn.Parameter):
                continue  # parameters were copied one by one
            if tensor.untyped_storage().nbytes() > tensor.numel() * tensor.element_size():
                tensors[name] = tensor.clone()


def dynamic_axes(names: Sequence[str], dynamic: Dynamic | None) -> Dynamic:
    """The dynamic axes of each argument; by default the first of each."""
    return {n: {0: BATCH} for n in names} if dynamic is None else dynamic


@contextmanager
def quietly() -> Iterator[None]:
    """A context without the messages of torch's exporters.

    They report their own deprecations, packages that are not needed, and guards that they ignore
    (``compare`` finds those that matter).
    """
    loggers = [logging.getLogger(name) for name in ("torch", "onnxscript")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def argument_names(module: nn.Module, inputs: Sequence[Tensor]) -> list[str]:
    """The names of the arguments that ``inputs`` are for.

    Raises:
        OptionError: If there are more inputs than arguments.
    """
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
    grid_sample: bool = True,
) -> float:
    """Write a module as a ``.pt2`` file, for ``torch.export.load`` without this package.

    The file is read and run on ``inputs`` and ``more``, and with each dynamic axis at a smaller
    size and larger ones.

    Args:
        module: The module; its own mode and weights are unchanged.
        path: The file.
        inputs: As for ``export_program``.
        dynamic: As for ``export_program``.
        more: Further inputs that the file is checked on.
        grid_sample: As for ``export_program``.

    Returns:
        The largest difference found.

    Raises:
        ExportError: If the module cannot be traced or the file gives other results; then nothing is
            written.
        OptionError: If ``dynamic`` or ``inputs`` do not fit the module's arguments.
    """
    program = export_program(module, inputs, dynamic=dynamic, grid_sample=grid_sample)
    names = argument_names(module, inputs)
    every = cases(names, inputs, dynamic_axes(names, dynamic), more)
    difference = 0.0

    def write(file: Path) -> None:
        nonlocal difference
        with quietly():
            buffer = io.BytesIO()
            torch.export.save(program, buffer)
            file.write_bytes(buffer.getbuffer())
            loaded = torch.export.load(str(file)).module()
        difference = compare(module, lambda tensors: as_tuple(loaded(*tensors)), every)

    write_whole(Path(path), write)
    return difference
