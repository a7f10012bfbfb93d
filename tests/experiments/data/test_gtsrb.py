"""GTSRB is read from its folders, or it is said what is wrong with which file."""

import cv2
import numpy as np
import pytest
import torch

from spatial_transformer.errors import DataError, OptionError
from spatial_transformer.experiments.data import gtsrb_files
from spatial_transformer.experiments.data.catalogue import make_dataset
from spatial_transformer.experiments.data.gtsrb import Gtsrb, jitter
from spatial_transformer.experiments.data.gtsrb_files import Row, read_image
from spatial_transformer.experiments.data.stream import generator

HEAD = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"
TABLE = "Final_Training/Images/00003/GT-00003.csv"


def everything(data, part, root):
    images, labels = zip(*data.fixed(part, data_root=root), strict=True)
    return torch.cat(images), torch.cat(labels)


def test_parts(signs):
    data = Gtsrb(8)
    train, validation, test = (everything(data, p, signs) for p in ("train", "validation", "test"))
    assert [len(y) for _, y in (train, validation, test)] == [43 * 6, 43 * 3, 86]
    for images, labels in (train, validation, test):
        assert images.shape[1:] == data.in_shape == (3, 8, 8)
        assert labels.bincount().tolist() == [len(labels) // 43] * 43
    # the blue of an image is its class, the green its track (of 3), as the fixture has written it
    for images, labels in (train, validation):
        torch.testing.assert_close((images[:, 2, 0, 0] * 255).round().long(), labels)
    held, rest = (
        {(int(y), int(g)) for g, y in zip((x[:, 1, 0, 0] * 255).round(), labels, strict=True)}
        for x, labels in (validation, train)
    )
    assert len(held) == 43
    assert len(rest) == 86
    assert not held & rest  # no track is in both
    assert validation[1][:20].unique().numel() > 5  # mixed, so that a block has many classes
    assert len(data.probes(data_root=signs)[0]) == 9


def test_batches_are_functions_of_seed_and_step(signs):
    one, two = (Gtsrb(8).batches(16, 5, data_root=signs) for _ in range(2))
    for k in (3, 0, 40):
        for a, b in zip(one(k), two(k), strict=True):
            assert torch.equal(a, b)
    assert not torch.equal(one(0)[0], Gtsrb(8).batches(16, 6, data_root=signs)(0)[0])
    epoch = torch.cat([one(k)[1] for k in range(16)])
    assert epoch.bincount(minlength=43).max() <= 6
    with pytest.raises(OptionError, match="batch_size must be in 1..258"):
        Gtsrb(8).batches(999, 0, data_root=signs)


def test_jitter_warps_as_opencv_does(monkeypatch):
    """One draw, at the ends of the intervals; the light is left as it is."""
    size, angle, wide, high, shear, x, y = 32, 0.1, 1.1, 0.9, 0.12, 0.15, -0.1
    draws = iter([[angle], [wide], [high], [shear], [x / 2], [y / 2], [1.0], [1.0, 1.0, 1.0]])
    monkeypatch.setattr(
        "spatial_transformer.experiments.data.gtsrb.uniform", lambda *_: torch.tensor(next(draws))
    )
    image = torch.rand(1, 3, size, size)
    ours = jitter(image, generator("cpu", 0))[0]
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = turn @ [[1, shear], [0, 1]] @ np.diag([1 / wide, 1 / high])
    middle = (size - 1) / 2
    offset = np.array([x, y]) * size / 2 + middle - linear @ [middle, middle]
    theirs = cv2.remap(
        image[0].permute(1, 2, 0).numpy(),
        *(
            (linear @ np.mgrid[:size, :size][::-1].reshape(2, -1) + offset[:, None])
            .reshape(2, size, size)
            .astype(np.float32)
        ),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    assert np.abs(ours.permute(1, 2, 0).numpy() - theirs).max() < 0.04  # OpenCV's 1/32 pixels


def test_light_changes_by_gamma_and_gain(monkeypatch):
    still = [[0.0], [1.0], [1.0], [0.0], [0.0], [0.0]]
    draws = iter([*still, [0.5], [1.0, 2.0, 0.5]])
    monkeypatch.setattr(
        "spatial_transformer.experiments.data.gtsrb.uniform", lambda *_: torch.tensor(next(draws))
    )
    lit = jitter(torch.full((1, 3, 4, 4), 0.25), generator("cpu", 0))
    for channel, wanted in enumerate((0.5, 1.0, 0.25)):
        torch.testing.assert_close(lit[0, channel], torch.full((4, 4), wanted))


def write(path, image):
    path.write_bytes(b"P6\n# a comment\n%d %d\n255\n" % image.shape[1::-1] + image.tobytes())


def test_images_are_resized_and_cropped(tmp_path):
    image = np.arange(10 * 20 * 3, dtype=np.uint8).reshape(10, 20, 3)  # ten rows, twenty columns
    write(tmp_path / "a.ppm", image)
    same = Row(tmp_path / "a.ppm", (20, 10), (4, 2, 11, 9), 0)
    crop = image[2:10, 4:12].transpose(2, 0, 1)
    assert np.array_equal(read_image(same, 8, crop=True), crop)
    # a table that speaks of an image of twice the size
    twice = Row(tmp_path / "a.ppm", (40, 20), (8, 4, 23, 19), 0)
    assert np.array_equal(read_image(twice, 8, crop=True), crop)
    assert read_image(same, 8).shape == (3, 8, 8)
    flat = np.full((30, 30, 3), 77, np.uint8)
    write(tmp_path / "a.ppm", flat)
    assert np.array_equal(read_image(same, 8), np.full((3, 8, 8), 77))


def test_a_subfolder_and_where_test_labels_are_extracted_to(signs, tmp_path):
    there = tmp_path / "GTSRB"
    signs.rename(there)
    assert len(everything(Gtsrb(8), "test", tmp_path)[1]) == 86
    for place in (tmp_path, there, there / "Final_Test" / "Images"):
        gtsrb_files.load_part.cache_clear()
        (found,) = tmp_path.rglob("GT-final_test.csv")
        found.rename(place / "GT-final_test.csv")
        assert len(everything(Gtsrb(8), "test", tmp_path)[1]) == 86


def replace_line(number, text):
    def change(root):
        lines = (root / TABLE).read_text().splitlines()
        lines[number - 1] = text
        (root / TABLE).write_text("\n".join(lines))

    return change


def remove_folder(root):
    folder = root / "Final_Training/Images/00007"
    folder.rename(root / "elsewhere")


def one_track(root):
    lines = (root / TABLE).read_text().splitlines()
    (root / TABLE).write_text("\n".join(lines[:4]))


IMAGE = "Final_Training/Images/00003/00001_00002.ppm"
BROKEN = {
    "folder": (remove_folder, r"00007: there is no folder of class 7 \(speed limit 100 km/h\)"),
    "file": (lambda r: (r / IMAGE).unlink(), r"GT-00003.csv, line 7: there is no .*01_00002.ppm"),
    "cut": (
        lambda r: (r / IMAGE).write_bytes((r / IMAGE).read_bytes()[:-9]),
        "00001_00002.ppm: not an image: ",
    ),
    "empty": (lambda r: (r / IMAGE).write_bytes(b""), "00001_00002.ppm: not an image: "),
    "huge": (
        lambda r: (r / IMAGE).write_bytes(b"P6 5000 5000 255 "),
        "00001_00002.ppm: not an image: it has 5000x5000 pixels",
    ),
    "class": (
        replace_line(3, "00000_00001.ppm;8;8;1;1;6;6;4"),
        "GT-00003.csv, line 3: ClassId is 4 in the folder of class 3",
    ),
    "range": (
        replace_line(3, "00000_00001.ppm;8;8;1;1;6;6;43"),
        r"GT-00003.csv, line 3: ClassId must be in 0..42, got 43",
    ),
    "short": (replace_line(2, "a.ppm;8;8"), "GT-00003.csv, line 2: must be a file's name and 7"),
    "words": (replace_line(2, "a.ppm;8;8;1;1;6;x;3"), "GT-00003.csv, line 2: must be a file's n"),
    "path": (replace_line(2, "../a.ppm;8;8;1;1;6;6;3"), "line 2: '../a.ppm' is not the name of"),
    "box": (replace_line(2, "a.ppm;8;8;1;1;9;6;3"), r"line 2: the box \(1, 1, 9, 6\) is not one"),
    "head": (replace_line(1, "Filename,Width"), "GT-00003.csv, line 1: must be Filename;Width;"),
    "bytes": (
        lambda r: (r / TABLE).write_bytes(b"\xff\xfe"),
        "GT-00003.csv: not a table of GTSRB: ",
    ),
    "none": (lambda r: (r / TABLE).unlink(), "GT-00003.csv: not a table of GTSRB: "),
    "rows": (lambda r: (r / TABLE).write_text(HEAD), "GT-00003.csv: has no rows"),
    "track": (one_track, "00003: has images of one track only, '00000'"),
    "labels": (
        lambda r: (r / "Final_Test/GT-final_test.csv").unlink(),
        "Final_Test: there is no GT-final_test.csv, the labels of the test images",
    ),
    "test image": (
        lambda r: (r / "Final_Test/Images/00007.ppm").write_bytes(b"P6 8 8 255 "),
        "00007.ppm: not an image",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_wrong_is_named_before_training(name, signs):
    change, message = BROKEN[name]
    change(signs)
    with pytest.raises(DataError, match=message):
        Gtsrb(8).batches(16, 0, data_root=signs)


def test_no_folder_is_named(tmp_path):
    with pytest.raises(DataError, match="GTSRB is not fetched: name the folder of Final_Training"):
        Gtsrb().batches(16, 0)
    with pytest.raises(DataError, match="there is no Final_Training, nor GTSRB/Final_Training"):
        Gtsrb().batches(16, 0, data_root=tmp_path)
    with pytest.raises(OptionError, match="part must be train, validation or test, got 'all'"):
        gtsrb_files.load_part(tmp_path, "all", 32, False)


def test_names():
    assert [make_dataset(n).in_shape[1] for n in ("gtsrb", "gtsrb48")] == [32, 48]
    assert make_dataset("gtsrb48_crop").crop
    assert make_dataset("gtsrb").labels[14] == "stop"
    assert len(set(make_dataset("gtsrb").labels)) == 43


def test_the_real_files(data_root):
    if data_root is None or not (data_root / "Final_Training").is_dir():
        pytest.skip("--data-root names no folder with Final_Training")
    batch = Gtsrb().batches(64, 0, data_root=data_root)
    images, _ = batch(0)
    assert images.shape == (64, 3, 32, 32)
    assert 0 <= images.min() <= images.max() <= 1
    _, held = everything(Gtsrb(), "validation", data_root)
    train = gtsrb_files.load_part(data_root, "train", 32, False)[1]
    assert len(train) + len(held) == 39_209
    assert held.bincount().min() == 30  # a track
    assert len(everything(Gtsrb(), "test", data_root)[1]) == 12_630
