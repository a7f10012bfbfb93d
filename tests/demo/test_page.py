"""The demo as a person meets it, in a real Chromium that is allowed nothing but loopback."""

import re
import socket

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

pytest.importorskip("gradio", reason="the demo needs Gradio")
pytest.importorskip("playwright", reason="playwright drives the browser")

import itertools

from benchmarks import browser
from spatial_transformer.coordinates import base_grid
from spatial_transformer.demo.digits import DigitsTab
from spatial_transformer.demo.images import ImagesTab
from spatial_transformer.demo.networks import find_networks
from spatial_transformer.demo.server import build_app, serving
from spatial_transformer.experiments.models.build import ModelConfig
from spatial_transformer.modules.classifier import Transformed
from spatial_transformer.modules.spatial_transformer import SpatialTransformer
from spatial_transformer.pretrained import Pretrained

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(browser.find_chromium() is None, reason="no Chromium: make browser"),
]

STAGE = "#stn-digits .stn-stage"
PANEL = "#stn-digits .stn-network >> nth={}"


@pytest.fixture(autouse=True)
def loopback_alone(monkeypatch):
    """Neither does the server ask for anything elsewhere."""
    connect = socket.socket.connect

    def guarded(self, address):
        assert self.family == socket.AF_UNIX or address[0] == "127.0.0.1", address
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


def says(visit, panel=0):
    """A panel's prediction and its probabilities in percent."""
    root = visit.page.locator(PANEL.format(panel))
    bars = root.locator(".stn-bars span").all_inner_texts()
    return int(root.locator(".stn-says").inner_text()), [float(b.split()[0]) for b in bars]


def output(visit, panel=0):
    return visit.pixels(f"{PANEL.format(panel)} >> canvas").astype(float)


def alike(a, b):
    """The highest correlation of two pictures of one size, wherever one is moved to."""
    a, b = ((x - x.mean()) / x.std() for x in (a, b))
    return np.fft.ifft2(np.fft.fft2(a) * np.fft.fft2(b).conj()).real.max() / a.size


def middle(a):
    """The centre of mass (y, x), in pixels."""
    return np.array([np.average(i, weights=a) for i in np.indices(a.shape)])


def draw(visit, *strokes):
    for name in ("Clear", "Upright"):
        visit.page.get_by_role("button", name=name).click()
    for points in strokes:
        for start, end in itertools.pairwise(points):
            visit.drag(".stn-pad", start, end, steps=4)
    visit.settle()


class Straighten(nn.Module):
    """A localisation network that needs no training: the window about the centre of mass, its rows
    across the principal axis, its heavier end up."""

    def forward(self, image):
        points = base_grid((42, 42), False).flatten(0, 1)
        mass = image.flatten(1) / image.sum((1, 2, 3)).clamp(min=1e-6)[:, None]
        centre = mass @ points
        away = points - centre[:, None]
        (xx, xy), (_, yy) = torch.einsum("bm,bmi,bmj->ijb", mass, away, away)
        angle = torch.atan2(2 * xy, xx - yy) / 2
        axis = torch.stack([angle.cos(), angle.sin()], -1)
        along = torch.einsum("bmi,bi->bm", away, axis)
        axis = axis * torch.einsum("bm,bm->b", mass, along**3).sign()[:, None]
        (x, y), (cx, cy) = axis.T, centre.T
        return torch.stack([-y, x, cx, x, y, cy], -1)


def make_networks():
    """The same smooth, arbitrary classifier behind a straightener and without it."""
    classifier = nn.Sequential(nn.Flatten(), nn.Linear(42 * 42, 10))
    coarse = torch.randn(10, 1, 7, 7, generator=torch.Generator().manual_seed(3))
    smooth = nn.functional.interpolate(coarse, (42, 42), mode="bilinear")
    classifier[1].weight.data = 0.1 * smooth.flatten(1)
    transformer = SpatialTransformer(Straighten(), "affine", 42)
    with_one, without = (ModelConfig(m, in_shape=(1, 42, 42)) for m in ("st_cnn", "cnn"))
    return [
        Pretrained(Transformed(transformer, classifier).eval(), with_one, "rts", "straight", 1.25),
        Pretrained(classifier.eval(), without, "rts", "plain", None),
    ]


SEVEN = [(0.25, 0.2), (0.75, 0.2), (0.45, 0.85)]


def test_digits(tmp_path):
    app = build_app(DigitsTab(make_networks(), None), ImagesTab())
    with serving(app) as url, browser.visiting(url) as visit:
        page = visit.page
        assert page.get_by_role("button", name="Test digit").is_disabled()
        draw(visit, [(0.5, 0.15), (0.5, 0.85)])
        bar = says(visit)
        draw(visit, SEVEN)
        known, sure = says(visit)
        assert (known, sure) != bar
        input_before, output_before, plain = output(visit, 1), output(visit), says(visit, 1)[1]

        # dragged aside it is elsewhere on the canvas, and where it was in the output
        visit.drag(STAGE, (0.5, 0.5), (0.62, 0.42))
        visit.settle()
        assert page.evaluate("stn.tabs.digits.state.pose.x") == pytest.approx(5, abs=0.5)
        moved = np.hypot(*(middle(output(visit, 1)) - middle(input_before)))
        assert moved == pytest.approx(42 * np.hypot(0.12, 0.08), abs=0.7)
        assert np.hypot(*(middle(output(visit)) - middle(output_before))) < 0.5
        assert says(visit)[0] == known
        assert says(visit)[1] == pytest.approx(sure, abs=8)
        assert says(visit, 1)[1] != pytest.approx(plain, abs=8)

        # turned by its handle, likewise
        page.get_by_role("button", name="Upright").click()
        visit.settle()
        visit.drag(STAGE, (0.5, 0.5 - 14 / 42), (0.5 + 10 / 42, 0.5 - 10 / 42))
        visit.settle()
        angle = page.evaluate("stn.tabs.digits.state.pose.angle")
        assert angle == pytest.approx(45, abs=2)
        assert alike(input_before, output(visit, 1)) < 0.6
        assert alike(output_before, output(visit)) > 0.9
        assert says(visit)[0] == known
        assert says(visit, 1)[1] != pytest.approx(plain, abs=8)

        # all the way round: the plain network's prediction changes, the other's does not
        said = [[], []]
        for turn in range(-150, 180, 30):
            page.locator("input[data-name=rotate]").fill(str(turn))
            visit.settle()
            for k in range(2):
                said[k].append(says(visit, k)[0])
        assert set(said[0]) == {known}
        assert len(set(said[1])) > 1

        # sliders, clutter, another choice of networks
        page.get_by_role("button", name="Upright").click()
        page.locator("input[data-name=shear]").fill("0.5")
        page.get_by_role("button", name="Other clutter").click()
        visit.settle()
        assert page.evaluate("stn.tabs.digits.state.clutter.pieces") == 6
        first = page.locator(PANEL.format(0)).get_attribute("data-network")
        other = page.locator(PANEL.format(1)).get_attribute("data-network")
        page.get_by_label("Network").click()
        page.get_by_role("option", name=other).first.click()
        page.wait_for_function(
            f"document.querySelector('.stn-network').dataset.network === '{other}'"
        )
        assert first != other

        # a broken and an oversize upload are refused in words, and the page goes on
        status = page.locator("#stn-digits .stn-status")
        chooser = page.locator("#stn-digits input[type=file]")
        broken = tmp_path / "broken.png"
        broken.write_bytes(b"\x89PNG\r\n\x1a\nand nothing more")
        complaints = list(visit.complaints)
        chooser.set_input_files(broken)
        page.wait_for_function("document.querySelector('#stn-digits .stn-status').textContent")
        assert "not an image that can be read" in status.inner_text()
        refused = [m for m in visit.complaints if m not in complaints]
        assert all(re.search("status of 422", m) for m in refused)  # Chromium notes each 4xx
        visit.complaints[:] = complaints
        huge = tmp_path / "huge.png"
        huge.write_bytes(bytes(11 * 2**20))
        chooser.set_input_files(huge)
        page.wait_for_function(
            "document.querySelector('#stn-digits .stn-status').textContent.includes('11.0 MB')"
        )
        picture = Image.new("L", (200, 200), 255)
        picture.paste(0, (95, 40, 110, 160))
        picture.save(tmp_path / "one.png")
        chooser.set_input_files(tmp_path / "one.png")
        page.wait_for_function(
            "document.querySelector('[data-show=source]').textContent == 'your image'"
        )
        visit.settle()
        assert status.inner_text() == ""
        assert visit.elsewhere == []
        assert visit.complaints == []


def test_the_networks_that_the_package_brings():
    networks = find_networks()
    if not networks:
        pytest.skip("no trained weights are shipped")
    with serving(browser.open_demo()) as url, browser.visiting(url) as visit:
        draw(visit, [(0.5, 0.15), (0.5, 0.85)])
        assert [says(visit, k)[0] for k in range(2)] == [1, 1]
        draw(visit, SEVEN)
        for end in ((0.6, 0.6), (0.4, 0.55), (0.45, 0.4)):
            assert says(visit)[0] == 7
            visit.drag(STAGE, (0.5, 0.5), end)
            visit.settle()
        assert visit.elsewhere == []
        assert visit.complaints == []


def test_any_image_and_no_networks(tmp_path):
    app = build_app(DigitsTab([], None), ImagesTab())
    with serving(app) as url, browser.visiting(url, browser.PHONE) as visit:
        page = visit.page
        assert "stn train --data rts" in page.locator(".stn-advice").first.inner_text()
        page.get_by_role("tab", name="Any image").click()
        left, right = (f"#stn-images .stn-output >> nth={k} >> canvas" for k in (0, 1))
        page.wait_for_function("stn.tabs.images?.state.grid.length")
        visit.settle()
        start = visit.pixels(left).astype(float)
        assert start.shape == (64, 64)
        assert np.abs(start - visit.pixels(right)).mean() > 10  # one aliases

        page.locator("input[data-name=a13]").fill("0.5")
        visit.settle()
        moved = visit.pixels(left).astype(float)
        assert np.abs(moved[:, :48] - start[:, 16:]).max() <= 1
        assert (moved[:, 48:] == 0).all()

        page.get_by_label("Transform").click()
        page.get_by_role("option", name="thin_plate_spline").click()
        page.wait_for_function("stn.tabs.images.state.spec.name === 'thin_plate_spline'")
        visit.settle()
        plain = visit.pixels(left).astype(float)
        assert np.abs(plain - start).max() <= 1  # the identity again
        visit.drag("#stn-images .stn-stage", (1 / 3, 1 / 3), (0.45, 0.45))
        visit.settle()
        x = page.evaluate("stn.tabs.images.state.theta[10]")
        assert x == pytest.approx(2 * 0.45 - 1, abs=0.03)
        assert np.abs(visit.pixels(left).astype(float) - plain).mean() > 5

        Image.new("RGB", (300, 150), (0, 200, 0)).save(tmp_path / "green.png")
        page.locator("#stn-images input[type=file]").set_input_files(tmp_path / "green.png")
        page.wait_for_function("stn.tabs.images.state.picture.width === 300")
        page.get_by_role("button", name="Identity").click()
        visit.settle()
        assert (visit.pixels(left) == 0).all()  # no red
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= browser.PHONE[0]
        assert visit.elsewhere == []
        assert visit.complaints == []
