"""Files that are made to take memory are refused with little of it: nothing is unpacked, nor is
room made for what is declared, before it is known to be there and to be no more than it can be."""

import json
import re
import struct
import subprocess
import sys
import zipfile
import zlib

import pytest
import torch

from spatial_transformer.experiments.data.cluttered40 import FILE
from spatial_transformer.experiments.models.build import ModelConfig, build_model
from spatial_transformer.experiments.training.checkpoint import FORMAT
from spatial_transformer.pretrained import save_pretrained

TRAIN = "train-images-idx3-ubyte"
#: bytes that a file may take beside what the process has
ROOM = 200 * 2**20
#: in a process of its own, whose room is bounded: name -> the error, "" where it is none
CHILD = """
import json, resource, sys
from pathlib import Path
import torch
from spatial_transformer.experiments.data.cluttered40 import load_cluttered40
from spatial_transformer.experiments.data.idx import read_idx
from spatial_transformer.experiments.data.mnist import load_mnist
from spatial_transformer.demo.pictures import decode_image
from spatial_transformer.errors import SpatialTransformerError
from spatial_transformer.pretrained import from_pretrained
from tools.benchmarks import load_results
from spatial_transformer.experiments.training.checkpoint import load_checkpoint
from spatial_transformer.experiments.training.records import load_record

readers = {
    "idx": read_idx,
    "mnist": lambda path: load_mnist("train", path),
    "npz": lambda path: load_cluttered40("train", path),
    "record": load_record,
    "results": load_results,
    "hub": from_pretrained,
    "checkpoint": load_checkpoint,
    "upload": lambda path: decode_image(path.read_bytes(), 64),
}
from_pretrained("st_cnn_affine_rts_small")  # what is imported late
torch.zeros(9).float()
taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
limit = taken + int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
told = {}
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        readers[path.name.partition("-")[0]](path)
        told[path.name] = ""
    except SpatialTransformerError as error:
        told[path.name] = f"{type(error).__name__}: {error}"
    except BaseException as error:
        told[path.name] = f"not ours: {type(error).__name__}: {error}"
print(json.dumps(told))
"""

EXPECTED = {
    "idx-longer": "DataError: .*but more bytes are there",
    "idx-shorter": "DataError: .*but 400000000 bytes are there",
    "idx-declared": "DataError: .*but 5 bytes are there",
    "mnist-gzip": "DataError: .*more than its 47040016 bytes",
    "mnist-raw": "DataError: .*more than its 47040016 bytes",
    "npz-declared": "DataError: .*X_train is declared as float32 \\(1000000000, 1600\\)",
    "npz-zeros": "DataError: .*X_train is declared as uint8 \\(300000000,\\)",
    "npz-lzma": "DataError: .*X_train is compressed otherwise",
    "record-long": "CheckpointError: .*more than 4194304 bytes",
    "record-deep": "CheckpointError: .*nested too deeply",
    "results-long": "DataError: .*more than 4194304 bytes",
    "hub-config": "CheckpointError: .*config.json: .*more than 4194304 bytes",
    "hub-large": "CheckpointError: .*not the weights of this model",
    "hub-larger": "CheckpointError: .*there is no such model",
    "hub-header": "CheckpointError: .*its header has 300000000 bytes",
    "checkpoint-call": "CheckpointError: .*asks for builtins bytearray, which is refused",
    "checkpoint-call2": "CheckpointError: .*asks for torch FloatTensor, which is refused",
    "checkpoint-compressed": "CheckpointError: .*is compressed",
    "checkpoint-long": "CheckpointError: .*more than 524288 bytes",
    "checkpoint-old": "CheckpointError: .*broken or not a checkpoint",
    "upload-bomb": "DataError: the image is too large",
    "upload-large": "",
}


def gzipped(start: bytes, zeros: int) -> bytes:
    """``start`` and many zeros, without ever having them."""
    piece = bytes(10**7)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    parts = [packer.compress(start) + packer.flush(zlib.Z_FULL_FLUSH)]
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    again = packer.compress(piece) + packer.flush(zlib.Z_FULL_FLUSH)
    parts += [again] * (zeros // len(piece))
    crc = zlib.crc32(start)
    if zeros < 10**9:  # nobody comes to the end of more
        for _ in range(zeros // len(piece)):
            crc = zlib.crc32(piece, crc)
    head = b"\x1f\x8b\x08" + bytes(6) + b"\xff"
    tail = zlib.compressobj(9, zlib.DEFLATED, -15).flush()
    size = (len(start) + zeros) % 2**32
    return head + b"".join(parts) + tail + struct.pack("<II", crc, size)


def npy(dtype: str, shape: tuple[int, ...], data: bytes = b"") -> bytes:
    head = repr({"descr": dtype, "fortran_order": False, "shape": shape}).encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + data


def archive(path, files, how=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", how) as file:
        for name, data in files.items():
            file.writestr(name, data)


def checkpoint(path, call, how=zipfile.ZIP_STORED, **files):
    """A checkpoint of torch's with another pickle."""
    parts = {"data.pkl": call, "version": b"3\n", "byteorder": b"little", **files}
    archive(path, {f"archive/{name}": data for name, data in parts.items()}, how)


def png(width, height, most):
    def chunk(kind, data):
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    packer = zlib.compressobj(9)
    row = bytes(1 + 3 * width)
    data = b"".join(packer.compress(row) for _ in range(min(height, most))) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What became of each file."""
    root = tmp_path_factory.mktemp("files")
    one = bytes([0, 0, 8, 1])
    (root / "idx-longer").write_bytes(gzipped(one + struct.pack(">I", 9), 3 * 10**9))
    (root / "idx-shorter").write_bytes(gzipped(one + struct.pack(">I", 4 * 10**8 + 1), 4 * 10**8))
    (root / "idx-declared").write_bytes(bytes([0, 0, 14, 2]) + b"\xff" * 8 + b"12345")

    for name in ("mnist-gzip", "mnist-raw", "npz-declared", "npz-zeros", "npz-lzma"):
        (root / name).mkdir()
    packed = gzipped(bytes([0, 0, 8, 3]) + struct.pack(">III", 60_000, 28, 28), 3 * 10**9)
    (root / "mnist-gzip" / TRAIN).write_bytes(packed)
    with (root / "mnist-raw" / TRAIN).open("wb") as file:
        file.truncate(3 * 10**9)

    labels = {"y_train.npy": npy("<i8", (9,), bytes(72))}
    images = {"X_train.npy": npy("<f4", (10**9, 1600), bytes(99))}
    archive(root / "npz-declared" / FILE, images | labels)
    images = {"X_train.npy": npy("|u1", (3 * 10**8,), bytes(3 * 10**8))}
    archive(root / "npz-zeros" / FILE, images | labels)
    archive(root / "npz-lzma" / FILE, images | labels, zipfile.ZIP_LZMA)

    long = "[" + "[]," * 4 * 10**6 + "[]]"
    for name in ("record-long", "results-long"):
        (root / name).write_text(long)
    (root / "record-deep").write_text("[" * 10**6)

    config = ModelConfig("cnn", parameters=10_000)
    for name in ("hub-config", "hub-large", "hub-larger", "hub-header"):
        save_pretrained(build_model(config), root / name, config=config)
    (root / "hub-config" / "config.json").write_text(long)
    for name, many in (("hub-large", 10**9), ("hub-larger", 10**30)):
        values = json.loads((root / name / "config.json").read_text())
        values["model"]["parameters"] = many
        (root / name / "config.json").write_text(json.dumps(values))
    with (root / "hub-header" / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", 3 * 10**8))
        file.truncate(3 * 10**8 + 8)

    many = b"J" + struct.pack("<i", 10**9) + b"\x85R."
    checkpoint(root / "checkpoint-call", b"\x80\x02cbuiltins\nbytearray\n" + many)
    checkpoint(root / "checkpoint-call2", b"\x80\x02ctorch\nFloatTensor\n" + many)
    checkpoint(root / "checkpoint-long", b"\x80\x02](" + b"\x8f" * 10**6 + b"e.")
    file = root / "checkpoint-compressed"
    torch.save({"format": FORMAT, "x": torch.zeros(6 * 10**7)}, file)
    with zipfile.ZipFile(file) as stored:
        parts = {name: stored.read(name) for name in stored.namelist()}
    archive(file, parts)
    file = root / "checkpoint-old"
    torch.save({"x": torch.zeros(4)}, file, _use_new_zipfile_serialization=False)

    (root / "upload-bomb").write_bytes(png(50_000, 40_000, most=9))
    (root / "upload-large").write_bytes(png(5000, 5000, most=5000))

    words = [sys.executable, "-c", CHILD, str(root), str(ROOM)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is bounded as Linux does it")
@pytest.mark.parametrize("name", EXPECTED)
def test_it_is_refused_with_little_memory(told, name):
    assert re.fullmatch(f"{EXPECTED[name]}.*" if EXPECTED[name] else "", told[name], re.S), told[
        name
    ]
