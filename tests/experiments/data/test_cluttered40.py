"""Cluttered MNIST 40x40 is read from its file, or it is said why not."""

import numpy as np
import pytest
import torch

from spatial_transformer.errors import DataError
from spatial_transformer.experiments.data.cluttered40 import FILE, Cluttered40, load_cluttered40

COUNTS = {"train": 50, "valid": 20, "test": 30}


@pytest.fixture
def root(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {}
    for part, n in COUNTS.items():
        arrays[f"X_{part}"] = rng.random((n, 1600), dtype=np.float32)
        arrays[f"y_{part}"] = rng.integers(0, 10, (n, 1)).astype(np.int32)
    np.savez(tmp_path / FILE, **arrays)
    return tmp_path


def test_parts(root):
    data = Cluttered40()
    with np.load(root / FILE) as file:
        for part, name in (("validation", "valid"), ("test", "test")):
            images, labels = (torch.cat(x) for x in zip(*data.fixed(part, data_root=root),
                                                        strict=True))  # fmt: skip
            assert np.array_equal(images.numpy().reshape(-1, 1600), file[f"X_{name}"])
            assert np.array_equal(labels.numpy(), file[f"y_{name}"][:, 0])
    batch = data.batches(16, 0, data_root=root)
    images, labels = batch(0)
    assert images.shape == (16, *data.in_shape)
    assert labels.dtype == torch.int64
    again = data.batches(16, 0, data_root=root)(0)
    assert torch.equal(images, again[0])
    assert not torch.equal(batch(3)[0], images)  # the next epoch jitters anew


def test_what_is_wrong_is_named(root, tmp_path):
    with pytest.raises(DataError, match=f"name the folder of {FILE} with --data-root"):
        load_cluttered40("train", None)
    with pytest.raises(DataError, match="no such file"):
        load_cluttered40("train", tmp_path / "no")
    np.savez(root / FILE, X_train=np.zeros((3, 9)), y_train=np.zeros(3))
    with pytest.raises(DataError, match=r"X_train must be \(N, 1600\)"):
        load_cluttered40("train", root)
    with pytest.raises(DataError, match="not cluttered MNIST"):
        load_cluttered40("test", root)
    black, zeros = np.zeros((3, 1600)), np.zeros(3, int)
    one_hot = np.eye(10, dtype=int)[:3]
    for x, y in ((black + 255, zeros), (black, one_hot), (black, zeros + 0.5)):
        np.savez(root / FILE, X_train=x, y_train=y)
        with pytest.raises(DataError, match=r"X_train must lie in \[0, 1\] and y_train be whole"):
            load_cluttered40("train", root)
    np.savez(root / FILE, X_train=np.zeros((3, 1600)), y_train=np.array(["a", "b", "c"]))
    with pytest.raises(DataError, match="not cluttered MNIST"):
        load_cluttered40("train", root)
    for broken in (b"", b"PK", (root / FILE).read_bytes()[:-30]):
        (root / FILE).write_bytes(broken)
        with pytest.raises(DataError, match=f"{FILE}: not cluttered MNIST"):
            load_cluttered40("train", root)


def test_the_real_file(data_root):
    if data_root is None or not (data_root / FILE).is_file():
        pytest.skip(f"--data-root names no folder with {FILE}")
    images, labels = load_cluttered40("train", data_root)
    assert images.shape == (10_000, 1, 40, 40)
    assert labels.bincount().min() > 800
