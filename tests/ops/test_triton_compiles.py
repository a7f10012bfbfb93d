"""The Triton kernels become machine code, where there is no GPU as well."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("compile_triton.py")


@pytest.mark.slow
def test_every_kind_of_call_compiles(tmp_path):
    pytest.importorskip("triton")
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path)  # none of them out of a cache
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "90"], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 30
    assert all(line.endswith(" bytes") for line in lines)
