"""The one thing pyproject.toml cannot say: the C++ library, built where a compiler is.

They are a plain shared library (no Python or torch headers), loaded with ctypes, so one wheel
serves every torch release. Without a compiler the install still succeeds.
"""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

folder = Path("src/spatial_transformer/ops/cpu")
flags = [
    # -g0: Python's own flags ask for debug information, ten times the size of the code
    *("-O2", "-g0", "-std=c++17", "-fopenmp", "-fvisibility=hidden"),
    # the same results on every machine; no errno and no traps stand in the vectors' way
    *("-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"),
]


class SideBySide(build_ext):
    """Compiles the units of an extension at once, as many as there are processors."""

    def build_extensions(self):
        one_by_one = self.compiler.compile

        def compile_all(sources, **options):
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                done = pool.map(lambda source: one_by_one([source], **options), sources)
                return [name for names in done for name in names]

        self.compiler.compile = compile_all
        super().build_extensions()


setup(
    cmdclass={"build_ext": SideBySide},
    ext_modules=[
        Extension(
            "spatial_transformer.ops.cpu._warp",
            # the longest first, so that they do not end alone
            sources=[str(unit) for unit in sorted(folder.glob("*.cpp"), reverse=True)],
            depends=[str(header) for header in sorted(folder.glob("*.h"))],
            extra_compile_args=flags if sys.platform != "win32" else ["/O2", "/std:c++17"],
            extra_link_args=["-fopenmp", "-s"] if sys.platform == "linux" else [],
            language="c++",
            optional=os.environ.get("STN_REQUIRE_KERNELS") != "1",
        )
    ]
    if sys.platform == "linux"
    else [],
)
