"""Random calls of the C++ backend under AddressSanitizer and UndefinedBehaviorSanitizer, and of the
installed ones between memory that must not be touched.

    python tests/ops/fuzz.py 20000 [seed]

Builds the kernels twice, once with each sanitizer (a minute of one core), then calls both builds
with random shapes, options, layouts and maps, many of them not finite or far too large, on buffers
of exactly the size that a call may touch; 50 calls a second or so. Ends with an error at the first
read or write out of bounds or undefined operation; the case it names is a seed.

What sanitizers do not see are the instructions of AVX2 and AVX-512 that load or store several
numbers: the installed library, at each of its levels, gets every buffer at the end of a page, or at
the start of one, beside a page that cannot be read.
"""

import ctypes
import math
import mmap
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCES = Path(__file__).parents[2] / "src/spatial_transformer/ops/cpu"
BAD = [float("nan"), float("inf"), -float("inf"), 1e30, -1e30, 3e9, -(2.0**31), 0.0]


#: flags of each sanitizer. Checks of addresses are calls: written out they take g++ many minutes.
SANITIZERS = {
    "asan": [
        *("-fsanitize=address", "--param", "asan-instrumentation-with-call-threshold=0"),
        "-fno-sanitize-address-use-after-scope",
    ],
    "ubsan": ["-fsanitize=undefined"],
}


def build(folder: Path, sanitizer: str) -> Path:
    """The kernels of the baseline instruction set with a sanitizer."""
    out = folder / f"warp_{sanitizer}.so"
    flags = "-O1 -std=c++17 -fopenmp -ffp-contract=off -fno-math-errno -fno-trapping-math -w"
    command = ["g++", *flags.split(), *SANITIZERS[sanitizer], "-fno-sanitize-recover=all"]
    command += [
        "-DSTN_BASELINE_ONLY",
        "-fPIC",
        "-shared",
        *map(str, SOURCES.glob("*.cpp")),
        "-o",
        str(out),
    ]
    subprocess.run(command, check=True)
    return out


class Buffers:
    """Memory exactly as large as a call may touch: one byte more is an error."""

    def __init__(self, chance: random.Random, number: type) -> None:
        self.chance, self.number = chance, number
        self.libc = ctypes.CDLL(None)
        self.libc.malloc.restype, self.libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
        self.libc.free.argtypes = [ctypes.c_void_p]
        self.all: list[int] = []

    def empty(self, size: int, item: int) -> ctypes.c_void_p:
        self.all.append(self.libc.malloc(max(size * item, 1)))
        return ctypes.c_void_p(self.all[-1])

    def filled(self, size: int, item: int, wild: float = 0.0) -> ctypes.c_void_p:
        """Random numbers, a fraction ``wild`` of them not finite or far too large."""
        memory, chance = self.empty(size, item), self.chance
        if item != ctypes.sizeof(self.number):  # of another type, whatever it is
            bits = (ctypes.c_uint8 * (size * item)).from_address(self.all[-1])
            bits[:] = chance.randbytes(size * item)
        else:
            array = (self.number * size).from_address(self.all[-1])
            far = [chance.random() < wild for _ in range(size)]
            array[:] = [chance.choice(BAD) if f else chance.gauss(0, 1.2) for f in far]
        return memory

    def free(self) -> None:
        for memory in self.all:
            self.libc.free(memory)


class Fenced(Buffers):
    """The same, between pages that cannot be read or written: flush with the end or the start."""

    def __init__(self, chance: random.Random, number: type) -> None:
        super().__init__(chance, number)
        self.maps: list[mmap.mmap] = []

    def empty(self, size: int, item: int) -> ctypes.c_void_p:
        wanted, page = max(size * item, 1), mmap.PAGESIZE
        inside = -(-wanted // page) * page
        whole = mmap.mmap(-1, inside + 2 * page)
        start = ctypes.addressof(ctypes.c_char.from_buffer(whole))
        for fence in (start, start + page + inside):
            if self.libc.mprotect(ctypes.c_void_p(fence), ctypes.c_size_t(page), 0):
                raise OSError("mprotect failed")
        self.maps.append(whole)
        room = inside - wanted if self.chance.random() < 0.7 else 0
        self.all.append(start + page + room)
        return ctypes.c_void_p(self.all[-1])

    def free(self) -> None:
        for whole in self.maps:
            start = ctypes.addressof(ctypes.c_char.from_buffer(whole))
            self.libc.mprotect(ctypes.c_void_p(start), ctypes.c_size_t(len(whole)), 3)
        self.maps.clear()


def fuzz(library: str, count: int, seed: int, kind: type[Buffers] = Buffers) -> None:
    """``count`` random calls. The case at hand is printed when it fails."""
    from spatial_transformer.ops.cpu.load import Plan

    kernels = ctypes.CDLL(library)
    for case in range(seed, seed + count):
        print(f"\rcase {case} ", end="", file=sys.stderr, flush=True)
        chance = random.Random(case)
        plan, suffix = draw(chance, Plan)
        number = ctypes.c_double if suffix == "f64" else ctypes.c_float
        wide = ctypes.sizeof(number)
        stored, copies = plan.item, plan.kernel == 0
        buffers = kind(chance, number)
        pixels, out_pixels = math.prod(plan.size), math.prod(plan.out_size)
        matrix = (plan.dims + plan.projective) * (plan.dims + 1)
        entries = out_pixels * plan.dims if plan.grid else matrix
        image_size = plan.images * plan.channels * pixels
        out_size = plan.batch * plan.channels * out_pixels
        values = stored if copies else wide
        inputs = [
            buffers.filled(image_size, stored, 0.01),
            buffers.filled(plan.maps * entries, wide, chance.choice([0.0, 0.05, 0.5])),
            buffers.filled(plan.fills * plan.channels, values) if plan.fills else None,
        ]
        forward = getattr(kernels, f"stn_{'nearest' if copies else 'forward'}_{suffix}")
        assert forward(ctypes.byref(plan), *inputs, buffers.empty(out_size, stored)) == 0
        grad = buffers.filled(out_size, stored)
        if copies:
            backward = getattr(kernels, f"stn_nearest_backward_{suffix}")
            if stored > 1:  # gradients are floating point
                to_image = buffers.empty(image_size, stored)
                assert backward(ctypes.byref(plan), inputs[1], grad, to_image) == 0
            buffers.free()
            continue
        batch = plan.batch if plan.grid else plan.maps
        gradients = [
            buffers.empty(image_size, stored) if chance.random() < 0.8 else None,
            buffers.empty(batch * entries, wide) if chance.random() < 0.8 else None,
        ]
        backward = getattr(kernels, f"stn_backward_{suffix}")
        assert backward(ctypes.byref(plan), *inputs, grad, *gradients) == 0
        buffers.free()
    print(f"{count} calls from seed {seed} on: clean")


def draw(chance: random.Random, plan_type: type) -> tuple:
    """A random plan, and the suffix of the functions that take it."""
    dims = chance.choice([2, 2, 3])
    sides = [1, 1, 2, 3, 5, 8, 13, 29] if dims == 2 else [1, 2, 3, 5, 9]
    size = [chance.choice(sides) for _ in range(dims)]
    out = [chance.choice([*sides, 1, 2]) for _ in range(dims)]
    if dims == 2 and chance.random() < 0.05:
        size = [chance.choice([70, 131]), chance.choice([67, 90])]  # read in place
    if chance.random() < 0.03:
        out[0] = chance.choice([129, 300])
    shared = chance.choice([1, 2, 3])
    batch = shared * chance.choice([1, 2])
    grid = chance.random() < 0.4
    double = chance.random() < 0.3
    flat = [1] * (3 - dims)
    kernel = chance.choice([0, 1, 2] if dims == 2 else [0, 1])
    storage = 0 if double else chance.randrange(3)
    item = 2 if storage else 8 if double else 4
    if kernel == 0:  # the image is of any type, whatever the maps are
        storage = chance.randrange(3)
        item = 2 if storage else chance.choice([1, 4, 8])
    plan = plan_type(
        grid,
        not grid and dims == 2 and chance.random() < 0.4,
        chance.choice([batch, batch // shared]),
        chance.choice([batch, batch // shared]),
        chance.choice([0, batch, 1]),
        batch,
        chance.choice([1, 1, 2, 3, 7, 8, 9, 16, 20, 40]),
        dims,
        (*size, *flat),
        (*out, *flat),
        kernel,
        chance.randrange(5),
        chance.random() < 0.5,
        storage,
        item,
        chance.random() < 0.4,
        double and grid and chance.random() < 0.5,
        chance.choice([1, 2]),
        chance.randrange(3),
    )
    return plan, "f64" if double else "f32"


def run(
    sanitizer: str, count: int, seed: int, quiet: bool = False
) -> subprocess.CompletedProcess[str]:
    """Build, and fuzz in a process in which the sanitizer comes first."""
    with tempfile.TemporaryDirectory() as folder:
        library = build(Path(folder), sanitizer)
        name = f"-print-file-name=lib{sanitizer}.so"
        runtime = subprocess.run(["g++", name], check=True, capture_output=True, text=True)
        options = {
            "LD_PRELOAD": runtime.stdout.strip(),
            "ASAN_OPTIONS": "detect_leaks=0",  # Python's own
            "PYTHONPATH": str(SOURCES.parents[2]),
        }
        code = f"import fuzz; fuzz.fuzz({str(library)!r}, {count}, {seed})"
        return subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, **options},
            cwd=Path(__file__).parent,
            capture_output=quiet,
            text=True,
        )


def run_fenced(count: int, seed: int, quiet: bool = False) -> subprocess.CompletedProcess[str]:
    """Fuzz the installed kernels, in a process that may die of it."""
    code = (
        "import fuzz; from spatial_transformer.ops.cpu import load; "
        f"fuzz.fuzz(load.LIBRARY._name, {count}, {seed}, fuzz.Fenced)"
    )
    return subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parent, capture_output=quiet, text=True
    )


def main(count: int = 20_000, seed: int = 0) -> int:
    for sanitizer in SANITIZERS:
        print(sanitizer, flush=True)
        if status := run(sanitizer, count, seed).returncode:
            return status
    print("between fences", flush=True)
    return run_fenced(count, seed).returncode


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
