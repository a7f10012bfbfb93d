"""Shared by all tests: seeds, options, and that nothing leaves the machine."""

import hashlib
import ipaddress
import os
import socket
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

# Triton asks when it is imported, which whatever test is first may do: without a GPU it interprets.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"

from spatial_transformer.experiments.data import mnist
from spatial_transformer.experiments.data.idx import encode_idx


def pytest_addoption(parser):
    parser.addoption("--data-root", type=Path, help="folder with MNIST's IDX files")
    parser.addoption("--no-onednn", action="store_true", help="as on a torch without oneDNN")


def pytest_configure(config):
    if config.getoption("--no-onednn"):
        torch.backends.mkldnn.set_flags(_enabled=False)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


#: what a test has asked for beyond this machine; None where it may
_requests = None


def _watch(event, arguments):
    if _requests is None or event not in ("socket.connect", "socket.getaddrinfo"):
        return
    if event == "socket.getaddrinfo":
        host = arguments[0]
    else:
        host = arguments[1][0] if isinstance(arguments[1], tuple) else None  # else a path
    if host in (None, "", b"", "localhost", socket.gethostname()) or _is_here(host):
        return
    _requests.append(host)
    raise PermissionError(f"a test that is not marked `network` asks for {host}")


def _is_here(host):
    try:
        address = ipaddress.ip_address(host.decode() if isinstance(host, bytes) else host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


sys.addaudithook(_watch)


@pytest.fixture(autouse=True)
def _offline(request):
    """No request leaves the machine, whatever becomes of the error."""
    global _requests
    _requests = None if request.node.get_closest_marker("network") else []
    yield
    asked, _requests = _requests, None
    assert not asked, f"asked for {asked}"


@pytest.fixture(scope="session")
def data_root(request):
    return request.config.getoption("--data-root")


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """A data root with few, easy digits: class k is a bar at height k."""
    root = tmp_path / "data"
    root.mkdir()
    files = {}
    for part, count in (("train", 5200), ("t10k", 100)):
        labels = np.arange(count) % 10
        images = np.zeros((count, 28, 28), np.uint8)
        for i, k in enumerate(labels):
            images[i, 4 + 2 * k : 6 + 2 * k, 6:22] = 255
        files[f"{part}-images-idx3-ubyte"] = encode_idx(images)
        files[f"{part}-labels-idx1-ubyte"] = encode_idx(labels)
    for name, data in files.items():
        (root / name).write_bytes(data)
    sums = {n: hashlib.sha256(d).hexdigest() for n, d in files.items()}
    monkeypatch.setattr(mnist, "SHA256", sums)
    monkeypatch.setenv("SPATIAL_TRANSFORMER_CACHE", str(tmp_path / "cache"))
    return root


@pytest.fixture
def signs(tmp_path):
    """A data root with few, small traffic signs as GTSRB has them: 3 tracks of 3 frames a class.

    Red is random, green the track, blue the class; two test images a class.
    """
    rng = np.random.default_rng(0)
    root = tmp_path / "signs"

    def write(folder, table, images):
        folder.mkdir(parents=True, exist_ok=True)
        lines = ["Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"]
        for name, track, label in images:
            pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            pixels[..., 1:] = track, label
            (folder / name).write_bytes(b"P6\n8 8\n255\n" + pixels.tobytes())
            lines.append(f"{name};8;8;1;1;6;6;{label}")
        table.write_text("\n".join(lines) + "\n")

    for label in range(43):
        folder = root / "Final_Training" / "Images" / f"{label:05d}"
        frames = [(f"{t:05d}_{f:05d}.ppm", t, label) for t in range(3) for f in range(3)]
        write(folder, folder / f"GT-{label:05d}.csv", frames)
    test = [(f"{k:05d}.ppm", 0, k % 43) for k in range(86)]
    write(root / "Final_Test" / "Images", root / "Final_Test" / "GT-final_test.csv", test)
    return root
