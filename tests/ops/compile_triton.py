"""Compiles the Triton kernels to machine code for a GPU that need not be there.

    python tests/ops/compile_triton.py [compute capability, such as 90]

Triton's interpreter takes more than its compiler does. TRITON_INTERPRET must not be set.
"""

import itertools
import sys

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from spatial_transformer.ops.triton import launch
from spatial_transformer.ops.triton.backward import backward_kernel
from spatial_transformer.ops.triton.forward import SIZES, forward_kernel

POINTERS = {
    torch.float16: "*fp16",
    torch.bfloat16: "*bf16",
    torch.float32: "*fp32",
    torch.float64: "*fp64",
}
#: dims, and what says where pixels are read
MAPS = ((2, "affine"), (2, "projective"), (2, "grid"), (3, "affine"), (3, "grid"))
PADDINGS = ("zeros", "fill", "border", "reflection", "mirror", "wrap")
#: gradients to image and maps, and whether the first is exact; None: forward
WANTED = (None, (True, True, False), (True, True, True), (False, True, False), (True, False, False))


def compile_one(capability, dims, maps, kernel, padding, dtype, wanted, channels, last, aligned):
    """One kernel as a call of ``launch`` would have it compiled: its machine code."""
    size, form = (20, 24, 8)[:dims], (30, 28, 9)[:dims]

    def meta(*shape, dtype=torch.float32):
        return torch.empty(shape, device="meta", dtype=dtype)

    layout = (torch.channels_last, torch.channels_last_3d)[dims - 2]
    layout = layout if last else torch.contiguous_format
    image = meta(4, channels, *form, dtype=dtype).contiguous(memory_format=layout)
    out = meta(4, channels, *size, dtype=dtype).contiguous(memory_format=layout)
    shape = {"affine": (dims, dims + 1), "projective": (3, 3), "grid": (*size, dims)}[maps]
    theta = meta(4, *shape, dtype=torch.promote_types(dtype, torch.float32))
    fill = (1, channels, 1) if padding == "fill" else None
    grid = maps == "grid"
    call = launch.plan(
        launch._spec(image), launch._spec(theta), launch._spec(out) if wanted else None, fill,
        size, kernel, padding, aligned, grid, wanted,
    )  # fmt: skip
    values, coordinates = POINTERS[dtype], POINTERS[call.dtype]
    given = [values, POINTERS[theta.dtype], values, values]
    if wanted:
        sums, units = ("*i64", "*fp64") if wanted[2] else (coordinates, values)
        given += [sums, coordinates, units]
    constants = dict(call.constants)
    options = {name: constants.pop(name) for name in ("num_warps", "enable_fp_fusion")}
    function = backward_kernel if wanted else forward_kernel
    names = function.arg_names
    signature, known, hints = {}, {}, {}
    for i, (name, value) in enumerate(zip(names, [*given, *call.numbers], strict=False)):
        if isinstance(value, str):
            signature[name] = value
        elif value == 1 and name not in SIZES:
            signature[name], known[(i,)] = "constexpr", 1
        else:
            signature[name] = "i32"
        if isinstance(value, str) or (value % 16 == 0 and name not in SIZES):
            hints[(i,)] = [["tt.divisibility", 16]]
    for name, value in constants.items():
        signature[name], known[(names.index(name),)] = "constexpr", value
    source = ASTSource(function, signature, known, hints)
    target = GPUTarget("cuda", capability, 32)
    return triton.compile(source, target=target, options=options).asm["cubin"]


def cases():
    """Every padding with every kind of map, and of all else each in turn."""
    rest = zip(
        itertools.cycle(POINTERS),
        itertools.cycle(WANTED),
        itertools.cycle((1, 3, 48)),
        itertools.cycle((False, True)),
        itertools.cycle((False, False, True)),
        strict=False,
    )
    kernels = ("nearest", "bilinear", "bicubic")
    for k, (dims, maps) in enumerate(MAPS):
        for j, padding in enumerate(PADDINGS):
            kernel = kernels[(j + k) % 3]
            dtype, wanted, channels, last, aligned = next(rest)
            if kernel == "nearest" and wanted:  # has no gradient to the maps
                wanted = (True, False, wanted[2])
            yield dims, maps, kernel, padding, dtype, wanted, channels, last, aligned


if __name__ == "__main__":
    capability = int(sys.argv[1]) if len(sys.argv) > 1 else 90
    for case in cases():
        print(*case, f"{len(compile_one(capability, *case)):,} bytes", flush=True)
