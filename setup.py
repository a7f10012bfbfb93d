"""The one thing pyproject.toml cannot say: the C++ kernels, built where a compiler is.

They are a plain shared library (no Python or torch headers), loaded with ctypes, so one wheel
serves every torch release. Without a compiler the install still succeeds.
"""

import os
import sys
from pathlib import Path

from setuptools import Extension, setup

kernels = Path("src/spatial_transformer/kernels/cpu")
flags = [
    *("-O2", "-std=c++17", "-fopenmp", "-fvisibility=hidden"),
    # the same results on every machine; no errno and no traps stand in the vectors' way
    *("-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"),
]
setup(
    ext_modules=[
        Extension(
            "spatial_transformer.kernels.cpu._warp",
            sources=[str(kernels / "warp.cpp")],
            depends=[str(header) for header in sorted(kernels.glob("*.h"))],
            extra_compile_args=flags if sys.platform != "win32" else ["/O2", "/std:c++17"],
            extra_link_args=["-fopenmp"] if sys.platform == "linux" else [],
            language="c++",
            optional=os.environ.get("STN_REQUIRE_KERNELS") != "1",
        )
    ]
    if sys.platform == "linux"
    else []
)
