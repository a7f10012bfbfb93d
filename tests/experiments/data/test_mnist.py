"""MNIST is found or fetched, always checked, never half-written."""

import gzip
import hashlib
import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from spatial_transformer.errors import DataError, OptionError
from spatial_transformer.experiments.data import mnist
from spatial_transformer.experiments.data.idx import encode_idx

rng = np.random.default_rng(0)
FILES = {
    "train-images-idx3-ubyte": encode_idx(rng.integers(0, 256, (6, 28, 28))),
    "train-labels-idx1-ubyte": encode_idx(np.arange(6)),
    "t10k-images-idx3-ubyte": encode_idx(rng.integers(0, 256, (3, 28, 28))),
    "t10k-labels-idx1-ubyte": encode_idx(np.arange(3)),
}
TRAIN = "train-images-idx3-ubyte"


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    """Small files in MNIST's place, an empty cache, and no source at all."""
    sums = {n: hashlib.sha256(d).hexdigest() for n, d in FILES.items()}
    monkeypatch.setattr(mnist, "SHA256", sums)
    monkeypatch.setenv("SPATIAL_TRANSFORMER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(mnist, "sources", list)


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "root"
    folder.mkdir()
    for name, data in FILES.items():
        (folder / name).write_bytes(data)
    return folder


def source(files, calls=None):
    def get(names):
        if calls is not None:
            calls.append(1)
        yield from files.items()

    return get


def failing(message):
    def get(names):
        raise DataError(message)
        yield

    return get


def cache():
    return mnist.cache_folder()


def test_from_a_data_root(root):
    images, labels = mnist.load_mnist("train", root)
    assert images.shape == (6, 28, 28)
    assert images.dtype == torch.uint8
    assert labels.tolist() == list(range(6))
    assert len(mnist.load_mnist("test", root)[1]) == 3
    assert mnist.locate_mnist(root) == root
    assert mnist.locate_mnist(str(root)) == root
    assert torch.equal(mnist.load_mnist("test", str(root))[0], mnist.load_mnist("test", root)[0])
    assert not cache().exists()


@pytest.mark.parametrize("folder", ["MNIST/raw", "mnist"])
def test_gzipped_and_in_the_usual_folders(tmp_path, folder):
    place = tmp_path / "other" / folder
    place.mkdir(parents=True)
    for name, data in FILES.items():
        (place / f"{name}.gz").write_bytes(gzip.compress(data))
    assert len(mnist.load_mnist("train", tmp_path / "other")[1]) == 6
    assert mnist.locate_mnist(tmp_path / "other") == place


def test_a_wrong_file_in_the_data_root_is_named_and_not_used(root, monkeypatch):
    monkeypatch.setattr(mnist, "sources", lambda: [("good", source(FILES))])
    (root / TRAIN).write_bytes(FILES[TRAIN][:-1])
    with pytest.raises(DataError, match=f"root/{TRAIN}: not MNIST's.*sha256.*expected.*not used"):
        mnist.load_mnist("train", root)
    (root / TRAIN).write_bytes(gzip.compress(FILES[TRAIN])[:-5])
    with pytest.raises(DataError, match=f"{TRAIN}: broken gzip data"):
        mnist.load_mnist("train", root)
    for data in (bytes(mnist.SIZES[TRAIN] + 1), gzip.compress(bytes(mnist.SIZES[TRAIN] + 1))):
        (root / TRAIN).write_bytes(data)
        with pytest.raises(DataError, match=f"{TRAIN}: not MNIST's .*: more than its 47040016 byt"):
            mnist.load_mnist("train", root)


def test_an_unreadable_file_in_the_data_root_is_named(root, monkeypatch):
    def refuse(path, mode):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match=f"{TRAIN}: cannot be read: Permission denied"):
        mnist.load_mnist("train", root)


def test_without_fetching(monkeypatch, caplog, tmp_path):
    calls = []
    monkeypatch.setattr(mnist, "sources", lambda: [("good", source(FILES, calls))])
    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(DataError, match=f"{TRAIN}: no such file, and fetching was ruled out"),
    ):
        mnist.load_mnist("train", tmp_path, fetch=False)
    assert f"{TRAIN} is not in {tmp_path}: using the cache" in caplog.text
    with pytest.raises(DataError, match="fetching was ruled out"):
        mnist.load_mnist("train", tmp_path, fetch=False)
    assert caplog.text.count(f"{TRAIN} is not in") == 1
    cache().mkdir(parents=True)
    (cache() / TRAIN).write_bytes(b"broken")
    with pytest.raises(DataError, match=f"{TRAIN}: not MNIST's"):
        mnist.load_mnist("train", fetch=False)
    assert not calls
    mnist.fetch_mnist()
    assert len(mnist.load_mnist("train", fetch=False)[1]) == 6


def test_a_missing_data_root_is_named(tmp_path):
    with pytest.raises(DataError, match="--data-root .*nowhere: no such folder"):
        mnist.load_mnist("train", tmp_path / "nowhere")
    with pytest.raises(OptionError, match="split must be 'train' or 'test', got 'val'"):
        mnist.load_mnist("val")


def test_fetched_once_then_cached(monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr(mnist, "sources", lambda: [("good", source(FILES, calls))])
    empty = tmp_path / "empty"
    empty.mkdir()
    assert mnist.locate_mnist() is None
    for _ in range(2):
        assert len(mnist.load_mnist("train", empty)[1]) == 6
        assert len(mnist.load_mnist("test")[1]) == 3
    assert len(calls) == 1
    assert sorted(p.name for p in cache().iterdir()) == sorted(FILES)
    assert mnist.locate_mnist() == cache()


def test_the_next_source_is_asked_when_one_fails(monkeypatch):
    wrong = {**FILES, TRAIN: FILES[TRAIN][:-1] + b"!"}
    some = {k: v for k, v in FILES.items() if k != TRAIN}
    monkeypatch.setattr(
        mnist,
        "sources",
        lambda: [
            ("a", failing("unreachable")), ("b", source(wrong)), ("c", source(some)),
            ("d", source(FILES)),
        ],
    )  # fmt: skip
    assert len(mnist.load_mnist("train")[1]) == 6


def test_when_all_fail_each_is_named(monkeypatch):
    wrong = {**FILES, TRAIN: b"\0\0"}
    monkeypatch.setattr(
        mnist, "sources", lambda: [("mirror", failing("name not known")), ("npm", source(wrong))]
    )
    with pytest.raises(DataError) as caught:
        mnist.load_mnist("train")
    message = str(caught.value)
    assert "mirror: name not known" in message
    assert f"npm: {TRAIN} of npm: not MNIST's" in message
    assert "--data-root" in message
    assert not cache().exists()


def test_a_broken_cache_is_fetched_again(monkeypatch):
    monkeypatch.setattr(mnist, "sources", lambda: [("good", source(FILES))])
    mnist.load_mnist("train")
    (cache() / TRAIN).write_bytes(b"broken")
    with pytest.warns(UserWarning, match=f"{TRAIN}: not MNIST's.*Fetching it again"):
        images, _ = mnist.load_mnist("train")
    assert len(images) == 6
    (cache() / TRAIN).write_bytes(b"broken")
    monkeypatch.setattr(mnist, "sources", lambda: [("gone", failing("no network"))])
    with (
        pytest.warns(UserWarning, match="again"),
        pytest.raises(DataError, match="gone: no network"),
    ):
        mnist.load_mnist("train")


def test_a_write_that_fails_leaves_no_file(monkeypatch):
    def half(path, data):
        with path.open("wb") as file:
            file.write(data[:5])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(mnist, "sources", lambda: [("good", source(FILES))])
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", half)
        with pytest.raises(DataError, match="cannot be written to: No space left"):
            mnist.load_mnist("train")
    assert list(cache().iterdir()) == []
    assert len(mnist.load_mnist("train")[1]) == 6
