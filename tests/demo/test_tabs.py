"""Both tabs without a browser: plain values in, plain values out; uploads that are refused."""

import base64
import io
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import spatial_transformer as stn
from spatial_transformer.demo import pictures
from spatial_transformer.demo.digits import DigitsTab
from spatial_transformer.demo.images import OPTIONS, ImagesTab, describe, make_test_card
from spatial_transformer.demo.networks import beside, facts, find_networks, first_choice, title
from spatial_transformer.demo.pictures import decode_image, encode_image
from spatial_transformer.errors import CheckpointError, DataError, OptionError
from spatial_transformer.experiments.data.stream import Digits
from spatial_transformer.experiments.models.build import ModelConfig, build_model
from spatial_transformer.pretrained import Pretrained, save_pretrained


def untrained(name="net", **options):
    config = ModelConfig(**{"in_shape": (1, 42, 42), "parameters": 30_000, **options})
    return Pretrained(build_model(config).eval(), config, "rts", name, None)


def pixels_of(address):
    kind, text = address.split(",")
    assert kind == "data:image/png;base64"
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))
    return torch.from_numpy(picture.copy()).float() / 255


def saved(kind, size=(30, 20), mode="RGB", **options):
    file = io.BytesIO()
    Image.new(mode, size, 200 if mode == "L" else (200, 100, 50, 255)[: len(mode)]).save(
        file, kind, **options
    )
    return file.getvalue()


GREY = base64.b64encode(bytes([0] * 300 + [255] * 100 + [0] * 384)).decode()


def test_networks_see_what_they_are_told_to():
    nets = [untrained("a"), untrained("b", model="cnn")]
    tab = DigitsTab(nets, None)
    answer = tab.look({"digit": GREY, "pose": {"x": 3}, "networks": ["a", "b"]})
    canvas = pixels_of(answer["canvas"])
    assert canvas.shape == (42, 42)
    seen, plain = answer["networks"]
    with torch.no_grad():
        logits, warped, _ = nets[0].model(canvas[None, None], return_warped=True)
        other = nets[1].model(canvas[None, None])
    assert seen["probabilities"] == pytest.approx(logits.softmax(1)[0].tolist(), abs=2e-3)
    assert plain["probabilities"] == pytest.approx(other.softmax(1)[0].tolist(), abs=2e-3)
    assert seen["prediction"] == int(logits.argmax())
    (view,) = seen["views"]
    assert plain["views"] == []
    assert (pixels_of(view["output"]) - warped[0, 0]).abs().max() < 0.01
    corners = view["grid"][0][0], view["grid"][6][-1]  # untrained it is the identity
    assert corners == ([-0.5, -0.5], [41.5, 41.5])


def test_two_views_and_no_networks():
    tab = DigitsTab([untrained("two", model="st2_fcn", parameters=400_000)], None)
    (seen,) = tab.look({"digit": GREY, "networks": ["two"]})["networks"]
    assert len(seen["views"]) == 2
    assert pixels_of(seen["views"][1]["output"]).shape == (42, 42)
    nothing = tab.look({"digit": GREY})
    assert nothing["networks"] == []
    assert nothing["size"] == 42


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ({}, "digit must be base64 text"),
        ({"digit": GREY[:-8]}, "digit must hold 784 bytes"),
        ({"digit": GREY, "networks": ["c"]}, "unknown networks 'c'. Known: a, small"),
        ({"digit": GREY, "networks": ["a", "small"]}, "inputs of different sizes"),
        ({"digit": GREY, "pose": 3}, "pose must be an object"),
        ({"digit": GREY, "clutter": {"pieces": 99}}, "pieces must be from 0 to 16"),
    ],
)
def test_what_the_first_tab_refuses(payload, message):
    tab = DigitsTab([untrained("a"), untrained("small", model="cnn", in_shape=(1, 28, 28))], None)
    with pytest.raises(OptionError, match=message):
        tab.look(payload)


def test_test_digits_and_drawings():
    digits = Digits(
        torch.arange(3 * 784).reshape(3, 28, 28).to(torch.uint8), torch.tensor([4, 5, 6])
    )
    tab = DigitsTab([], digits)
    answer = tab.test_digit({"index": 4})
    assert answer["label"] == 5
    assert base64.b64decode(answer["digit"]) == digits.images[1].numpy().tobytes()
    with pytest.raises(DataError, match="MNIST is not on this machine"):
        DigitsTab([], None).test_digit({"index": 0})
    drawing = Image.new("L", (112, 112))
    drawing.paste(255, (50, 20, 60, 90))
    file = io.BytesIO()
    drawing.save(file, "PNG")
    digit = base64.b64decode(tab.digit_of_picture(file.getvalue())["digit"])
    assert len(digit) == 784
    assert max(digit) == 255


@pytest.mark.parametrize("kind", pictures.FORMATS)
def test_images_come_in_as_they_are(kind):
    image = decode_image(saved(kind), 512)
    assert image.shape == (3, 20, 30)
    assert image[:, 5, 5].tolist() == pytest.approx([200 / 255, 100 / 255, 50 / 255], abs=0.03)
    assert decode_image(saved(kind, (300, 100)), 60).shape == (3, 20, 60)


def test_modes_orientation_and_transparency():
    assert decode_image(saved("PNG", mode="L"), 64)[:, 0, 0].tolist() == pytest.approx(
        [200 / 255] * 3
    )
    turned = Image.Exif()
    turned[0x0112] = 6
    assert decode_image(saved("JPEG", exif=turned), 64).shape == (3, 30, 20)
    file = io.BytesIO()
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(file, "PNG")
    assert (decode_image(file.getvalue(), 64) == 1).all()
    image = torch.rand(3, 5, 7)
    assert (pixels_of(encode_image(image)).permute(2, 0, 1) - image).abs().max() <= 0.5 / 255 + 1e-6


def bomb(width, height):
    """A few bytes of PNG that claim to be a huge image."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not an image that can be read"),
        (b"hello, I am a text", r"not an image that can be read \(PNG, JPEG"),
        (saved("PNG")[:60], "not an image that can be read"),
        (saved("JPEG", (300, 300))[:400], "not an image that can be read"),
        (saved("TIFF"), "not an image that can be read"),
        (bomb(6000, 5000), "too large: 6000 x 5000 pixels, at most 25 million"),
        (bomb(12_000, 10_000), "too large: 12000 x 10000 pixels"),
        (bomb(60_000, 60_000), "too large: it has too many pixels"),
        (b"\x89PNG" + bytes(pictures.MOST_BYTES), "too large: 10.0 MB, at most 10 MB"),
    ],
)
def test_uploads_that_are_refused(data, message, recwarn):
    with pytest.raises(DataError, match=message):
        decode_image(data, 512)
    assert not recwarn.list


def request(tab, transform="affine", **changes):
    spec = describe(transform)
    samplers = [{"kernel": "bilinear"}, {"kernel": "bilinear", "antialias": True}]
    return {"image": "card", "transform": transform, "theta": spec["theta"], "size": 32,
            "padding": "zeros", "samplers": samplers, **changes}  # fmt: skip


@pytest.mark.parametrize("name", stn.list_transforms())
def test_every_transform_has_controls_and_is_shown(name):
    tab = ImagesTab()
    spec = describe(name)
    transform = stn.make_transform(name, **OPTIONS.get(name, {}))
    params = [p for group in spec["groups"] for p in group["params"]]
    known = sorted(p["index"] for p in params)
    if name in ("bspline", "diffeomorphic"):  # 4x4 of the 6x6 lie on the image
        assert len(known) == 2 * 4 * 4
    else:
        assert known == list(range(transform.num_params))
    for p in params:
        assert p["low"] <= spec["theta"][p["index"]] <= p["high"], p
    answer = tab.warp(request(tab, name))
    wanted = stn.warp(make_test_card()[None], transform.identity()[None], transform, 32)[0]
    left, right = (pixels_of(o["pixels"]).permute(2, 0, 1) for o in answer["outputs"])
    assert (left - wanted).abs().max() < 0.01
    assert (left - right).abs().max() > 0.3  # the card aliases
    # a handle says where the transform reads: moving it moves what is read there
    moves = []
    for group in spec["groups"]:
        handle = group["handle"]
        assert handle is not None or name == "linear_basis"
        if handle is None:
            continue
        theta = torch.tensor([spec["theta"]])
        before = transform.grid(theta, 32)
        theta[0, handle["x"]] += 0.1
        theta[0, handle["y"]] -= 0.1
        moves.append((transform.grid(theta, 32) - before).nan_to_num(0).flatten(0, 2))
        place = [
            handle["at"][0] + spec["theta"][handle["x"]],
            handle["at"][1] + spec["theta"][handle["y"]],
        ]
        assert max(map(abs, place)) <= 1
    for move in moves:
        far = move.abs().amax(0)
        assert (far > 5e-3).all()
        k = int(move[:, 0].argmax())
        assert move[k, 0] > 0 > move[k, 1]


def test_images_are_kept_and_forgotten():
    tab = ImagesTab()
    first = tab.add(saved("PNG", (40, 20)))
    assert (first["width"], first["height"]) == (40, 20)
    assert tab.get({"image": first["image"]})["pixels"] == first["pixels"]
    for _ in range(16):
        tab.add(saved("PNG"))
    assert tab.get({})["image"] == "card"
    with pytest.raises(DataError, match="load it again"):
        tab.get({"image": first["image"]})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"transform": "afine"}, "unknown transform 'afine'"),
        ({"theta": [1, 0, 0]}, "theta must be a list of 6 numbers, got 3"),
        ({"theta": [1, 0, 0, 0, 1, float("nan")]}, r"theta\[5\] must be from -10.0 to 10.0"),
        ({"size": 100_000}, "size must be from 32 to 256"),
        ({"padding": "none"}, "unknown padding 'none'"),
        ({"samplers": []}, "samplers must be a list of 2 objects"),
        ({"samplers": [{"kernel": "box"}, {}]}, "unknown kernel 'box'"),
        ({"samplers": [{"kernel": "nearest", "antialias": "yes"}, {}]}, "antialias must be true"),
    ],
)
def test_what_the_second_tab_refuses(changes, message):
    tab = ImagesTab()
    with pytest.raises(OptionError, match=message):
        tab.warp(request(tab, **changes))


@pytest.mark.parametrize("padding", ["fill", "wrap"])
def test_paddings(padding):
    tab = ImagesTab()
    answer = tab.warp(request(tab, "translation", theta=[4.0, 0.0], padding=padding))
    output = pixels_of(answer["outputs"][0]["pixels"])
    if padding == "fill":
        assert (output - 0.5).abs().max() < 0.01
    else:  # two whole images to the right
        same = tab.warp(request(tab, "translation", theta=[0.0, 0.0]))
        assert (output - pixels_of(same["outputs"][0]["pixels"])).abs().max() < 0.01


def test_networks_are_found_by_their_folders(tmp_path):
    config = ModelConfig("cnn", in_shape=(1, 42, 42), parameters=20_000)
    for folder in ("here/mine", "there/mine"):
        save_pretrained(build_model(config), tmp_path / folder, config=config,
                        card={"dataset": "rts", "test_error_percent": 4.25})  # fmt: skip
    paths = [tmp_path / "here/mine", tmp_path / "there/mine"]
    found = find_networks(paths)
    assert [n.name for n in found[:2]] == ["mine", "mine (2)"]
    assert title(found[0]) == "mine: 4.25 % error"
    with pytest.raises(CheckpointError, match="no such folder or file"):
        find_networks([tmp_path / "owner/name"])
    odd = ModelConfig("cnn", in_shape=(2, 42, 42), classes=19, parameters=20_000)
    save_pretrained(build_model(odd), tmp_path / "odd", config=odd)
    with pytest.raises(OptionError, match="odd: the demo shows networks that read one digit"):
        find_networks([tmp_path / "odd"])


def test_a_transformer_comes_first_and_a_plain_network_beside_it():
    plain, looking = untrained("plain", model="cnn"), untrained("looking")
    assert first_choice([plain, looking], "rts") == ["looking", "plain"]
    assert first_choice([plain], "rts") == ["plain"]
    assert first_choice([plain], "r") == []
    # the first of several; beside it the one that is the nearest in size
    large = replace(looking, name="large", config=replace(looking.config, parameters=400_000))
    wider = replace(plain, name="wider", config=replace(plain.config, parameters=300_000))
    assert first_choice([large, looking, plain, wider], "rts") == ["large", "wider"]
    # another data set's where its images are as large, and no other
    elsewhere = replace(looking, name="elsewhere", dataset="p")
    networks = [looking, plain, elsewhere, untrained("small", model="cnn", in_shape=(1, 28, 28))]
    assert first_choice(networks, "p") == ["elsewhere", "plain"]
    assert [n.name for n in beside(networks, "p")] == ["elsewhere", "looking", "plain"]
    assert first_choice([elsewhere, looking], "p") == ["elsewhere"]
    assert first_choice([elsewhere, replace(elsewhere, name="two")], "p") == ["elsewhere", "two"]


def test_the_packages_own_networks():
    networks = find_networks()
    if not networks:
        pytest.skip("no trained weights are shipped")
    assert first_choice(networks, "rts") == ["st_cnn_affine_rts", "cnn_rts_small"]
    for dataset in ("r", "p", "e"):
        assert first_choice(networks, dataset)[1] == "cnn_r"
    assert len(first_choice(networks, "tc")) == 1  # no CNN reads 60x60
    best = next(n for n in networks if n.name == "st_cnn_affine_rts")
    assert facts(best) == "0.79 % error on rts; 398,678 parameters"


def test_nothing_is_predicted_of_an_empty_pad():
    tab = DigitsTab([untrained("a")], None)
    empty = base64.b64encode(bytes(784)).decode()
    answer = tab.look({"digit": empty, "networks": ["a"], "clutter": {"pieces": 3}})
    assert answer["empty"] is True
    assert answer["networks"] == []
    assert tab.look({"digit": GREY, "networks": ["a"]})["empty"] is False
