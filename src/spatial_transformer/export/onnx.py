"""A module as an ONNX model, checked against ONNX Runtime before it is written."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from spatial_transformer.errors import ExportError, OptionError
from spatial_transformer.export.program import (
    Dynamic,
    argument_names,
    compare,
    dynamic_axes,
    examples,
    export_program,
    quietly,
    save_program,
)
from spatial_transformer.extras import require
from spatial_transformer.files import write_whole

#: the first with GridSample in 3-D
OPSET = 20


def export_onnx(
    module: nn.Module,
    path: str | Path,
    inputs: Sequence[Tensor],
    *,
    dynamic: Dynamic | None = None,
    outputs: Sequence[str] | None = None,
    metadata: Mapping[str, str] | None = None,
    more: Sequence[Sequence[Tensor]] = (),
) -> float:
    """Write a module as an ONNX model of opset 20. Its inputs have the names of the arguments.

    ONNX Runtime runs the model on ``inputs`` and ``more`` and, where the batch is dynamic, on the
    first of each alone; where an output differs from the module's by more than 1e-5 (of its
    largest value, if that is more than 1), nothing is written.

    Args:
        inputs, dynamic: as for :func:`export_program`.
        outputs: their names.
        metadata: kept in the file, for whoever runs it.
        more: further inputs that the model is checked on, such as ones of another size.
    Returns: the largest difference found.
    Raises: ExportError; OptionError for another number of outputs, or where onnx, onnxscript or
        onnxruntime is not installed.
    """
    require_onnx()
    import onnxruntime

    program = export_program(module, inputs, dynamic=dynamic)
    count = len(program.graph_signature.user_outputs)
    if outputs is not None and len(outputs) != count:
        raise OptionError(f"outputs names {list(outputs)}, but the module has {count}")
    if outputs is None:
        outputs = ["output"] if count == 1 else [f"output{k}" for k in range(count)]
    names = argument_names(module, inputs)
    model = translate(program, outputs, dynamic_axes(names, dynamic))
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

    difference = compare(module, run, examples(module, inputs, more, dynamic))
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
) -> float:
    """:func:`export_onnx` or :func:`save_program`, as the file's name ends in .onnx or .pt2.

    Raises: as these; ExportError for another ending.
    """
    suffix = Path(path).suffix
    if suffix == ".pt2":
        return save_program(module, path, inputs, dynamic=dynamic, more=more)
    if suffix != ".onnx":
        raise ExportError(f"{path}: the file's name must end in .onnx or .pt2")
    return export_onnx(
        module, path, inputs, dynamic=dynamic, outputs=outputs, metadata=metadata, more=more
    )


def require_onnx() -> None:
    """Raises: OptionError naming the package that is missing."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        require(package, "export")


def translate(program: ExportedProgram, outputs: Sequence[str], dynamic: Dynamic) -> Any:
    """A program as an ``onnx.ModelProto``. Raises: ExportError with the exporter's reason."""
    try:
        with quietly():
            found = torch.onnx.export(
                program,
                (),
                output_names=list(outputs),
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
    except Exception as error:  # torch.onnx.errors and others
        reason = str(error.__cause__ or error).strip().split("\n")[0]
        raise ExportError(f"ONNX cannot express it: {reason}") from error
    assert found is not None
    model = found.model_proto
    version = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
    if version != OPSET:
        raise ExportError(f"the model came out in opset {version}, not {OPSET}")
    _name_axes(model, dynamic)
    return model


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
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    return options
