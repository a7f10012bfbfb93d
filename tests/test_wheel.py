"""The wheel, in an environment that has torch and numpy, and no compiler."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from tests.environment import make_environment, run

ROOT = Path(__file__).parents[1]

CODE = """

import torch
import spatial_transformer as stn
from spatial_transformer.ops.backend import backend_status

assert "site-packages" in stn.__file__, stn.__file__
available, why = backend_status()["cpu"]
assert available, why
image = torch.rand(2, 3, 9, 8)
identity = stn.Affine().identity()[None].repeat(2, 1)
assert torch.equal(stn.warp(image, identity, "affine", backend="cpu"), image)
print(stn.__version__)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    pytest.importorskip("auditwheel")
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # nothing that was built here before
    ignored = shutil.ignore_patterns("*.so", "__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "src", source / "src", ignore=ignored)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder / "raw")]
    environment = {
        **os.environ,
        "STN_BUILD": "require",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    }
    subprocess.run([*pip, str(source)], env=environment, check=True)
    (raw,) = (folder / "raw").glob("*.whl")
    repair = [sys.executable, "-m", "auditwheel", "repair", "-w", str(folder), str(raw)]
    subprocess.run(repair, env=environment, check=True, capture_output=True)
    (repaired,) = folder.glob("*.whl")
    return repaired


@pytest.mark.slow
@pytest.mark.network  # what builds it is fetched
@pytest.mark.skipif(sys.platform != "linux", reason="auditwheel is for Linux")
def test_it_runs_where_there_is_no_compiler(wheel, tmp_path):
    assert re.fullmatch(r"spatial_transformer-[\d.]+-py3-none-manylinux\w+\.whl", wheel.name)
    assert wheel.stat().st_size < 12 * 2**20  # most of it weights
    names = zipfile.ZipFile(wheel).namelist()
    assert any(name.endswith("ops/cpu/_warp.so") for name in names)
    assert any(name.endswith("shipped/cnn_r/model.safetensors") for name in names)
    assert not any(name.startswith(("tools/", "tests/", "benchmarks/")) for name in names)
    python = make_environment(tmp_path / "empty", "torch", "numpy")
    (site,) = (tmp_path / "empty").glob("lib/python*/site-packages")
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index"]
    subprocess.run([*install, "--target", str(site), str(wheel)], check=True)
    assert run(python, CODE).strip() == re.search(r"-([\d.]+)-", wheel.name)[1]
