"""What pyproject.toml cannot say: how the C++ backend is compiled, and its wheels' names.

It is a plain shared library without Python or torch headers, loaded with ctypes, so that one wheel
of a platform serves every Python and every torch. ``STN_BUILD`` says what becomes of it:

    auto      compile it where there is a compiler; without one the install succeeds all the same
    require   an install without it is an error
    none      leave it out: a wheel for any platform, on which everything runs eager

Linux on x86-64 is what is tested. With Clang (macOS) there is one instruction set, and one thread
where there is no OpenMP; MSVC lacks the vector types, so that Windows has the wheel without.
"""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

BUILD = os.environ.get("STN_BUILD", "auto")
if BUILD not in ("auto", "require", "none"):
    sys.exit(f"STN_BUILD must be auto, require or none, got {BUILD!r}")

SOURCES = Path("src/spatial_transformer/ops/cpu")
OPENMP = ["-fopenmp"] if sys.platform == "linux" else []
COMPILE = [
    # -g0: Python's own flags ask for debug information, ten times the size of the code
    *("-O2", "-g0", "-std=c++17", "-fvisibility=hidden"),
    # the same results on every machine; no errno and no traps stand in the vectors' way
    *("-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"),
]
LINK = ["-s"] if sys.platform == "linux" else []


class BuildBackend(build_ext):
    """Compiles the units side by side, as many as there are processors, into ``_warp.so``."""

    def build_extensions(self):
        one_by_one = self.compiler.compile

        def compile_all(sources, **options):
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                done = pool.map(lambda source: one_by_one([source], **options), sources)
                return [name for names in done for name in names]

        self.compiler.compile = compile_all
        super().build_extensions()

    def get_ext_filename(self, name):
        return f"{name.replace('.', os.sep)}.so"  # for every version of Python


class PlatformWheel(bdist_wheel):
    """A wheel for every Python of a platform."""

    def get_tag(self):
        _, _, platform = super().get_tag()
        return "py3", "none", platform


backend = Extension(
    "spatial_transformer.ops.cpu._warp",
    # the longest first, so that they do not end alone
    sources=[str(unit) for unit in sorted(SOURCES.glob("*.cpp"), reverse=True)],
    depends=[str(header) for header in sorted(SOURCES.glob("*.h"))],
    extra_compile_args=COMPILE + OPENMP,
    extra_link_args=LINK + OPENMP,
    language="c++",
    optional=BUILD == "auto",
)
with_backend = BUILD != "none" and sys.platform != "win32"
setup(
    cmdclass={"build_ext": BuildBackend, "bdist_wheel": PlatformWheel},
    ext_modules=[backend] if with_backend else [],
)
