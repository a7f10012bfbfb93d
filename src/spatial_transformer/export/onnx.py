"""Export as an ONNX model, checked against ONNX Runtime before it is written."""

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

#: torch's exporter writes the first, and converts it up to the last
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
    """Write a module as an ONNX model, whose inputs have the names of the arguments.

    ONNX Runtime runs the model on ``inputs`` and ``more``, and with each dynamic axis at a smaller
    size and larger ones; where an output differs from the module's by more than 1e-5 (of its
    largest value, if that is more than 1), nothing is written.

    Args:
        module: The module; its own mode and weights are unchanged.
        path: The file.
        inputs: As for ``export_program``.
        dynamic: As for ``export_program``.
        outputs: Their names.
        metadata: Stored in the file.
        more: Further inputs that the model is checked on.
        opset: 18 to 25, or to the newest that onnx knows.
        grid_sample: Whether warps may become GridSample, which an opset before 20 has in 2-D only;
            otherwise they become gathers, for run times without it.

    Returns:
        The largest difference found.

    Raises:
        ExportError: If the model cannot be expressed or fails the check; the message names the
            input, the axis and the size.
        OptionError: If the opset or the number of outputs is invalid, or onnx, onnxscript or
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
    except Exception as error:  # its error classes are not public
        raise ExportError(f"ONNX Runtime does not take the model: {error}") from error

    def run(tensors: Sequence[Tensor]) -> list[Tensor]:
        feed = {n: t.numpy() for n, t in zip(names, tensors, strict=True)}
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
    """``export_onnx`` or ``save_program``, as the file's name ends in .onnx or .pt2.

    Args:
        module: The module.
        path: The file, ending in .onnx or .pt2.
        inputs: As for ``export_program``.
        dynamic: As for ``export_program``.
        outputs: Their names, in an ONNX file.
        metadata: Stored in an ONNX file.
        more: Further inputs that the file is checked on.
        opset: Of an ONNX file; 20 if None.
        grid_sample: As for ``export_onnx``.

    Returns:
        The largest difference found.

    Raises:
        ExportError: If the file's name has another ending, or the module cannot be exported or
            gives other results.
        OptionError: If an option is invalid (``opset`` of a .pt2 file is), or a package is not
            installed.
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
    """Check that the packages for ONNX are installed.

    Raises:
        OptionError: If one is not; the message names it.
    """
    for package in ("onnx", "onnxscript", "onnxruntime"):
        require(package, "export")


def check_opset(opset: object) -> None:
    """Check that an opset can be written here.

    Raises:
        OptionError: If it is not an int from 18 to the newest that torch and onnx know.
    """
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
    """A program as an ``onnx.ModelProto``.

    Raises:
        ExportError: If the exporter cannot express it, in general or in this opset.
    """
    try:
        with quietly():
            exported = torch.onnx.export(
                program,
                (),
                output_names=list(outputs),
                opset_version=opset,
                dynamo=True,
                # the following are not defaults in torch 2.6
                optimize=True,
                custom_translation_table={torch.sym_float: _as_float},
                verbose=False,
            )
    except Exception as error:  # torch.onnx.errors and others
        reason = str(error.__cause__ or error).strip().split("\n")[0]
        raise ExportError(f"ONNX cannot express it: {reason}") from error
    assert exported is not None
    model = exported.model_proto
    version = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
    if version != opset:
        raise ExportError(
            f"opset {opset}: the converter cannot express the model in it, only in {version}"
        )
    _name_axes(model, dynamic)
    return model


def _as_float(size: Any) -> Any:
    """A size as a float, in ONNX."""
    import onnx
    from onnxscript import opset18

    return opset18.Cast(size, to=onnx.TensorProto.FLOAT)


def _name_axes(model: Any, dynamic: Dynamic) -> None:
    """Give dynamic axes their labels in ``dynamic``, where the tracer numbers them."""
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
