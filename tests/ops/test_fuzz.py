"""A few of the fuzzer's calls; ``python tests/ops/fuzz.py`` makes as many as are asked for."""

import shutil
import sys
from pathlib import Path

import pytest

from spatial_transformer.ops.cpu import load

sys.path.insert(0, str(Path(__file__).parent))
import fuzz

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="the sanitizers are loaded as on Linux"),
    pytest.mark.skipif(shutil.which("g++") is None, reason="no g++ to build the kernels with"),
]


def test_a_few_random_calls_stay_in_bounds():
    done = fuzz.run("asan", count=300, seed=9_000_000, quiet=True)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "300 calls" in done.stdout


@pytest.mark.skipif(load.LIBRARY is None, reason=f"no C++ backend: {load.WHY}")
def test_so_do_those_of_every_instruction_set():
    done = fuzz.run_fenced(count=1000, seed=9_000_000, quiet=True)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "1000 calls" in done.stdout
