"""Films: the frames that went in come out, read by a reader that is not ours."""

import json
import shutil
import subprocess

import numpy as np
import pytest
import torch
from PIL import Image

import spatial_transformer as stn
from spatial_transformer import viz
from spatial_transformer.errors import OptionError, ShapeError
from spatial_transformer.experiments.data.catalogue import make_dataset
from spatial_transformer.experiments.data.motion import move
from spatial_transformer.viz import film


def frames(count=4, size=(31, 22)):
    for k in range(count):
        image = Image.new("RGB", size, "white")
        image.paste((0, 0, 0), (4 * k, 0, 4 * k + 8, 22))
        image.paste((0xE6, 0x9F, 0x00), (0, 16, 31, 22))
        yield image


def test_a_gif_has_the_frames(tmp_path):
    path = tmp_path / "x.gif"
    assert viz.save_film(frames(), path, rate=10, hold=0.5) == 4
    with Image.open(path) as read:
        assert (read.n_frames, read.size, read.info["loop"]) == (4, (31, 22), 0)
        shown = []
        for k, wanted in enumerate(frames()):
            read.seek(k)
            shown.append(read.info["duration"])
            assert np.array_equal(np.asarray(read.convert("RGB")), np.asarray(wanted))
    assert shown == [100, 100, 100, 600]
    again = tmp_path / "y.gif"
    viz.save_film(frames(), again, rate=10, hold=0.5)
    assert again.read_bytes() == path.read_bytes()


def test_frames_of_one_image_have_one_size():
    steps = (0, 9, 10, 999, 1_000, 12_345)
    errors = ("-", "100.0", "95.5", "11.1", "1.0", "0.9")
    titles = [f"step\xa0{k:,}\nerror\xa0{e}\xa0%" for k, e in zip(steps, errors, strict=True)]
    sizes = {f.size for f in viz.film_frames(torch.rand(6, 1, 1, 8, 8), titles=titles)}
    assert len(sizes) == 1


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not on the PATH")
def test_an_mp4_has_the_frames(tmp_path):
    path = tmp_path / "x.mp4"
    viz.save_film(frames(6), path, rate=12, hold=0.5)
    words = ["ffprobe", "-v", "error", "-count_frames", "-of", "json", "-show_entries",
             "stream=codec_name,width,height,r_frame_rate,nb_read_frames", str(path)]  # fmt: skip
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    (stream,) = json.loads(done.stdout)["streams"]
    assert (stream["codec_name"], stream["r_frame_rate"]) == ("h264", "12/1")
    assert (stream["width"], stream["height"]) == (32, 22)  # sides are made even
    assert int(stream["nb_read_frames"]) == 12
    picture = tmp_path / "first.png"
    subprocess.run(
        ["ffmpeg", "-v", "error", "-i", str(path), "-frames:v", "1", str(picture)], check=True
    )
    seen = np.asarray(Image.open(picture).convert("L")).astype(int)
    wanted = np.asarray(next(frames()).convert("L")).astype(int)
    assert np.abs(seen[:, :31] - wanted).mean() < 12


def test_without_ffmpeg_it_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OptionError, match="made by the program ffmpeg, which is not on the PATH"):
        viz.save_film(frames(), tmp_path / "x.mp4")
    broken = tmp_path / "ffmpeg"
    broken.write_text("#!/bin/sh\ncat > /dev/null\necho no such encoder >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(OptionError, match="ffmpeg could not write .*: no such encoder"):
        viz.save_film(frames(), tmp_path / "x.mp4")
    assert not list(tmp_path.glob("*.mp4"))


def test_wrong_films():
    with pytest.raises(OptionError, match="a film is one of .gif, .mp4"):
        film.check_film(film.Path("x.avi"))
    with pytest.raises(ShapeError, match="one frame"):
        viz.save_film([], film.Path("x.gif"))
    two = [*frames(1), *frames(1, (8, 8))]
    with pytest.raises(ShapeError, match="one size"):
        viz.save_film(two, film.Path("x.gif"))


def test_frames_are_sheets():
    theta = torch.rand(3, 2, 1, 3) * 0.3 + 0.3
    images = torch.rand(3, 2, 1, 8, 8)
    warped = torch.rand(3, 2, 1, 1, 4, 4)
    said = [[0, 1], [1, 1], [2, 1]]
    options = {"predicted": said, "truth": [2, 1], "titles": ["a", "b", "c"]}
    drawn = list(viz.film_frames(images, warped, theta, stn.Attention(), **options))
    assert len(drawn) == 3
    assert len({f.size for f in drawn}) == 1
    assert not np.array_equal(np.asarray(drawn[0]), np.asarray(drawn[1]))
    assert len(list(viz.film_frames(images, predicted=said, truth=[2, 1]))) == 3
    with pytest.raises(ShapeError, match="a film of 3 frames got 2 thetas, 1 titles"):
        list(viz.film_frames(images, warped, theta[:2], stn.Attention(), titles=["a"]))


@pytest.mark.parametrize("name", ["r", "rts", "p", "e", "tc", "t3", "tc3", "addition", "volume30"])
def test_digits_move_smoothly_and_come_back(name):
    digits = torch.zeros(3, 1, 28, 28)
    digits[:, :, 8:20, 8:20] = 1
    at = [move(name, digits, k / 40) for k in range(41)]
    assert at[0].shape == (3, *make_dataset(name).in_shape)
    torch.testing.assert_close(at[40], at[0], atol=1e-4, rtol=0)
    steps = torch.stack([(a - b).abs().mean() for a, b in zip(at[1:], at, strict=False)])
    assert steps.min() > 0
    assert steps.max() < 8 * steps.mean()
    # the digit stays in the image: at its smallest it has lost no more than its scale takes
    ink = torch.stack([a.flatten(1).sum(1) for a in at])
    assert ink.min() > (0.6 / 1.2) ** 3 * ink.max()


def test_what_cannot_move_is_named():
    with pytest.raises(OptionError, match="no motion for 'cluttered40'"):
        move("cluttered40", torch.zeros(1, 1, 28, 28), 0.0)
