"""A module as an ONNX model, checked against ONNX Runtime before it is written."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from spatial_transformer.errors import ExportError, OptionError
from spatial_transformer.export.check import Dynamic, cases, compare
from spatial_transformer.export.program import (
    argument_names,
    dynamic_axes,
    export_program,
    quietly,
    save_program,
)
from spatial_transformer.export.sampling import ALL_DIMS
from spatial_transformer.extras import require
from spatial_transformer.files import write_whole

#: the first with GridSample in 3-D
OPSET = 20

#: torch's exporter has its operators in the first, and converts them as far as the last
OPSETS = (18, 25)


def export_onnx(
    module: nn.Module,
    path: str | Path,
    inputs: Sequence[Tensor],
    *,
    dynamic: Dynamic | None = None,
    outputs: Sequence[str] | None = None,
    metadata: Mapping[str, str] | None = None,
    more: Sequence[Sequence[Tensor]] = (),
    opset: int = OPSET,
    grid_sample: bool = True,
) -> float:
    """Write a module as an ONNX model. Its inputs have the names of the arguments.

    ONNX Runtime runs the model on ``inputs`` and ``more``, and with each axis that may have any
    size at a smaller size and larger ones; where an output differs from the module's by more than
    1e-5 (of its largest value, if that is more than 1), nothing is written.

    Args:
        inputs, dynamic: as for :func:`export_program`.
        outputs: their names.
        metadata: kept in the file, for whoever runs it.
        more: further inputs that the model is checked on.
        opset: 18 to 25, or to the newest that onnx knows.
        grid_sample: whether warps may become GridSample, which an opset before 20 has in 2-D alone;
            otherwise they become gathers, for run times that lack it.
    Returns: the largest difference found.
    Raises: ExportError, naming the input, the axis and the size at which the model fails;
        OptionError for another opset or number of outputs, or where onnx, onnxscript or
        onnxruntime is not installed.
    """
    require_onnx()
    import onnxruntime

    check_opset(opset)
    dims = [d for d in ALL_DIMS if grid_sample and (d == 2 or opset >= OPSET)]
    program = export_program(module, inputs, dynamic=dynamic, grid_sample=dims)
    count = len(program.graph_signature.user_outputs)
    if outputs is not None and len(outputs) != count:
        raise OptionError(f"outputs names {list(outputs)}, but the module has {count}")
    if outputs is None:
        outputs = ["output"] if count == 1 else [f"output{k}" for k in range(count)]
    names = argument_names(module, inputs)
    axes = dynamic_axes(names, dynamic)
    model = translate(program, outputs, axes, opset)
    for key, value in (metadata or {}).items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    data = model.SerializeToString()
    try:
        session = onnxruntime.InferenceSession(data, _quiet(), ["CPUExecutionProvider"])
    except Exception as error:  # its own kinds, which it does not name in public
        raise ExportError(f"ONNX Runtime does not take the model: {error}") from error

    def run(given: Sequence[Tensor]) -> list[Tensor]:
        feed = {n: t.numpy() for n, t in zip(names, given, strict=True)}
        return [torch.from_numpy(array) for array in session.run(None, feed)]

    difference = compare(module, run, cases(names, inputs, axes, more))
    write_whole(Path(path), lambda p: p.write_bytes(data))
    return difference


def export_module(
    module: nn.Module,
    path: str | Path,
    inputs: Sequence[Tensor],
    *,
    dynamic: Dynamic | None = None,
    outputs: Sequence[str] | None = None,
    metadata: Mapping[str, str] | None = None,
    more: Sequence[Sequence[Tensor]] = (),
    opset: int | None = None,
    grid_sample: bool = True,
) -> float:
    """:func:`export_onnx` or :func:`save_program`, as the file's name ends in .onnx or .pt2.

    Args: as these; ``outputs`` and ``metadata`` are of ONNX files alone, and so is ``opset`` (20 if
        None).
    Raises: as these; ExportError for another ending; OptionError for the opset of a .pt2 file.
    """
    suffix = Path(path).suffix
    if suffix == ".pt2":
        if opset is not None:
            raise OptionError(f"{path}: opset={opset!r} is for ONNX files")
        return save_program(
            module, path, inputs, dynamic=dynamic, more=more, grid_sample=grid_sample
        )
    if suffix != ".onnx":
        raise ExportError(f"{path}: the file's name must end in .onnx or .pt2")
    return export_onnx(
        module, path, inputs, dynamic=dynamic, outputs=outputs, metadata=metadata, more=more,
        opset=OPSET if opset is None else opset, grid_sample=grid_sample,
    )  # fmt: skip


def require_onnx() -> None:
    """Raises: OptionError naming the package that is missing."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        require(package, "export")


def check_opset(opset: object) -> None:
    """Raises: OptionError for an opset that cannot be written here."""
    import onnx

    first, last = OPSETS[0], min(OPSETS[1], onnx.defs.onnx_opset_version())
    if type(opset) is not int or not first <= opset <= last:
        raise OptionError(
            f"opset must be {first} to {last} (torch's exporter writes no older ones, and onnx "
            f"{onnx.__version__} or we know no newer), got {opset!r}"
        )


def translate(
    program: ExportedProgram, outputs: Sequence[str], dynamic: Dynamic, opset: int
) -> Any:
    """A program as an ``onnx.ModelProto``. Raises: ExportError with the exporter's reason."""
    try:
        with quietly():
            found = torch.onnx.export(
                program,
                (),
                output_names=list(outputs),
                opset_version=opset,
                dynamo=True,
                # the rest is what torch 2.6 does not by itself
                optimize=True,
                custom_translation_table={torch.sym_float: _as_float},
                verbose=False,
            )
    except Exception as error:  # torch.onnx.errors and others
        reason = str(error.__cause__ or error).strip().split("\n")[0]
        raise ExportError(f"ONNX cannot express it: {reason}") from error
    assert found is not None
    model = found.model_proto
    version = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
    if version != opset:
        raise ExportError(
            f"opset {opset}: the converter cannot express the model in it, only in {version}"
        )
    _name_axes(model, dynamic)
    return model


def _as_float(size: Any) -> Any:
    """A size as a number to reckon with, in ONNX."""
    import onnx
    from onnxscript import opset18

    return opset18.Cast(size, to=onnx.TensorProto.FLOAT)


def _name_axes(model: Any, dynamic: Dynamic) -> None:
    """Give axes of any size the names that ``dynamic`` has, where the tracer numbers them."""
    values = {v.name: v.type.tensor_type.shape.dim for v in model.graph.input}
    names = {
        values[name][axis].dim_param: called
        for name, axes in dynamic.items()
        if name in values
        for axis, called in axes.items()
    }
    graph = model.graph
    for value in (*graph.input, *graph.output, *graph.value_info):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_param = re.sub(
                    r"\w+", lambda word: names.get(word[0], word[0]), dim.dim_param
                )


def _quiet() -> Any:
    from onnxruntime import SessionOptions

    options = SessionOptions()
    options.log_severity_level = 4  # its errors are raised as well
    options.intra_op_num_threads = torch.get_num_threads()
    return options
