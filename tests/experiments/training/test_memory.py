"""What becomes of the memory that a training step frees."""

import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys, torch
from spatial_transformer.experiments.runner.run import open_fabric
if sys.argv[1] == "kept":
    open_fabric("cpu")
step = lambda: [torch.ones(size) for size in (2**24, 2**18, 2**20, 2**22)]
for _ in range(3):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(how):
    """In ten steps that make and free tensors of up to 64 MiB."""
    done = subprocess.run(
        [sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
@pytest.mark.slow
def test_training_asks_the_system_for_no_page_twice():
    kept, given_back = page_faults("kept"), page_faults("given back")
    assert 20 * kept < given_back
