"""Drives the demo in a headless Chromium: for its tests, its benchmark and its pictures."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import numpy as np

from spatial_transformer.demo.digits import DigitsTab, find_digits
from spatial_transformer.demo.images import ImagesTab
from spatial_transformer.demo.networks import find_networks
from spatial_transformer.demo.server import build_app

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--proxy-server=http://127.0.0.1:9",  # nothing listens there; loopback goes past it
)
DESKTOP, PHONE = (1280, 800), (390, 844)


def open_demo(runs: Sequence[Path] = ()) -> Any:
    """The demo's application as ``stn demo RUN ...`` has it."""
    return build_app(DigitsTab(find_networks(runs), find_digits()), ImagesTab())


def find_chromium() -> str | None:
    """Chromium's path, or None."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


_PIXELS = """(canvas) => {
  const {width, height} = canvas;
  const copy = new OffscreenCanvas(width, height).getContext('2d', {willReadFrequently: true});
  copy.drawImage(canvas, 0, 0);
  const {data} = copy.getImageData(0, 0, width, height);
  return {width, height, data: Array.from(data)};
}"""


@dataclass
class Visit:
    """A page, what it asked for elsewhere (nothing of that is let through), what went wrong."""

    page: Any
    elsewhere: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def drag(self, selector: str, start: Any, end: Any, steps: int = 8) -> None:
        """Press at ``start``, move to ``end``, release; in fractions of the element's box."""
        box = self.page.locator(selector).bounding_box()
        (x0, y0), (x1, y1) = (
            (box["x"] + fx * box["width"], box["y"] + fy * box["height"]) for fx, fy in (start, end)
        )
        self.page.mouse.move(x0, y0)
        self.page.mouse.down()
        self.page.mouse.move(x1, y1, steps=steps)
        self.page.mouse.up()

    def settle(self) -> None:
        """Wait until nothing is asked or drawn any more."""
        idle = "Object.values(window.stn.tabs).every((tab) => !tab.busy())"
        self.page.evaluate("() => new Promise((done) => requestAnimationFrame(done))")
        self.page.wait_for_function(idle)

    def pixels(self, selector: str) -> np.ndarray:
        """The grey values ``(H, W)`` of a canvas."""
        found = self.page.locator(selector).evaluate(_PIXELS)
        return np.array(found["data"], np.uint8).reshape(found["height"], found["width"], 4)[..., 0]


@contextmanager
def visiting(
    url: str, size: tuple[int, int] = DESKTOP, scheme: Literal["light", "dark"] = "light"
) -> Iterator[Visit]:
    """The demo at ``url`` in a window of ``size``, once it has drawn its first digit."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=find_chromium(), args=list(ARGUMENTS), headless=True
        )
        width, height = size
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=scheme,
            has_touch=width < 600,
            service_workers="block",
        )
        visit = Visit(context.new_page())

        def note(request: Any) -> None:
            address = urlsplit(request.url)
            if address.scheme not in ("data", "blob") and address.hostname != "127.0.0.1":
                visit.elsewhere.append(request.url)

        context.on("request", note)
        visit.page.on(
            "console",
            lambda m: visit.complaints.append(m.text) if m.type in ("error", "warning") else None,
        )
        visit.page.on("pageerror", lambda error: visit.complaints.append(str(error)))
        try:
            visit.page.goto(url)
            visit.page.wait_for_function("window.stn?.tabs.digits?.state.answer", timeout=60_000)
            visit.settle()
            yield visit
        finally:
            browser.close()
