"""The site: every module has its page, every name is in the gallery, every link leads somewhere."""

import importlib
import json
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest
from docs.site import gallery, hooks

import spatial_transformer as stn
from spatial_transformer.samplers.padding import PADDINGS

ROOT = Path(__file__).parents[2]


def public_modules() -> set[str]:
    found = pkgutil.walk_packages(stn.__path__, "spatial_transformer.", onerror=lambda name: None)
    return {m.name for m in found if not m.name.rsplit(".", 1)[1].startswith("_")}


def test_every_public_module_has_its_page_named_as_it_is():
    pages = hooks.modules()
    assert set(pages.values()) == public_modules() | {"spatial_transformer"}
    assert pages["api/samplers/lanczos.md"] == "spatial_transformer.samplers.lanczos"
    assert pages["api/samplers/index.md"] == "spatial_transformer.samplers"


def test_names_in_the_pages_exist():
    pages = [*sorted((ROOT / "docs").rglob("*.md")), None]
    names = []
    for page in pages:
        text = gallery.page() if page is None else page.read_text()
        names += re.findall(r"\]\[(spatial_transformer[\w.]*)\]", text)
    assert len(names) > 50
    for name in set(names):
        assert resolve(name) is not None, name


def resolve(name: str) -> object:
    """What a dotted name means: a module, or something in one."""
    parts = name.split(".")
    for k in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:k]))
        except ModuleNotFoundError:
            continue
        for part in parts[k:]:
            found = getattr(found, part)
        return found
    return None


def test_every_equation_of_the_paper_is_there():
    text = (ROOT / "docs" / "equations.md").read_text()
    for section in re.findall(r"^## \((\d)\)(.*?)^## ", text + "## ", re.S | re.M):
        assert "```math" in section[1]
        assert "][spatial_transformer." in section[1], section[0]
    assert re.findall(r"^## \((\d)\)", text, re.M) == list("12345678")


class TestGallery:
    def test_it_has_every_name_of_the_registries(self):
        assert {kind: names for kind, (names, _) in gallery.KINDS.items()} == {
            "transforms": stn.list_transforms(),
            "samplers": stn.list_samplers(),
            "paddings": PADDINGS,
        }
        shown = set(re.findall(r"\((images/[^)]*)\)", gallery.page()))
        assert shown >= {
            f"images/gallery/{kind}/{name}.png"
            for kind, (names, _) in gallery.KINDS.items()
            for name in names
        }

    @pytest.mark.parametrize("name", stn.list_transforms())
    def test_its_theta_shows_something(self, name):
        transform = stn.make_transform(name)
        theta = gallery.example(transform)[None]
        warped = stn.warp(gallery.cat(), theta, transform)
        assert (warped - gallery.cat()).abs().mean() > 0.02
        inside = (transform.grid(theta, 64).abs() <= 1).all(-1).float().mean()
        assert inside > 0.6  # of the cat

    def test_a_new_transform_is_drawn_without_being_told_how(self, monkeypatch):
        class New(stn.Translation):
            name = "new"

        monkeypatch.setitem(gallery.TRANSFORMS._builders, "new", New)
        png = gallery.to_bytes(gallery.draw_transform("new"))
        assert png.startswith(b"\x89PNG")
        assert png == gallery.to_bytes(gallery.draw_transform("new"))
        assert "images/gallery/transforms/new.png" in gallery.page()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built as `make docs` does."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.slow
class TestSite:
    def test_it_is_built_without_a_warning_and_has_every_page(self, site):
        for page in (*hooks.modules(), *hooks.ELSEWHERE, "gallery.md", "quickstart.md"):
            path = site / re.sub(r"(index)?\.md$", "", page) / "index.html"
            assert path.is_file(), page

    def test_every_public_name_has_its_docstring_in_the_api(self, site):
        for name, value in vars(stn).items():
            if name.startswith("_") or not (isinstance(value, type) or callable(value)):
                continue
            module = value.__module__
            folder = module.removeprefix("spatial_transformer.").replace(".", "/")
            html = (site / "api" / folder / "index.html").read_text()
            assert f'id="{module}.{value.__qualname__}"' in html, name

    def test_guides_are_found_before_the_api_and_sources_are_not(self, site):
        found = json.loads((site / "search/search_index.json").read_text())["docs"]
        for entry in found:
            assert (entry.get("boost", 1) < 1) == entry["location"].startswith("api/"), entry
        page = (site / "api/samplers/lanczos/index.html").read_text()
        assert "Source code in" in page
        assert not any("Source code in" in entry["text"] for entry in found)

    def test_the_api_begins_with_what_users_call(self, site):
        page = (site / "api/index.html").read_text()
        article = page[page.index("<article") :]
        names = article.index('href="modules/spatial_transformer/#')
        assert article.index("<h1") < names < article.index("<h2")

    def test_its_palette_follows_the_system_and_can_be_chosen(self, site):
        page = (site / "index.html").read_text()
        schemes = re.findall(r'data-md-color-media="([^"]*)"', page)
        wanted = ["", ": light", ": dark"]
        assert schemes == [f"(prefers-color-scheme{scheme})" for scheme in wanted]

    def test_nothing_is_fetched_from_elsewhere(self, site):
        fetched = (
            r"<(?:script|img|link|iframe|source)\b[^>]*?(?:src|href)=\"?((?:https?:)?//[^\" >]+)"
        )
        for page in site.rglob("*.html"):
            assert not re.findall(fetched, page.read_text()), page
        for sheet in site.rglob("*.css"):
            assert not re.findall(r"url\(\"?(?:https?:)?//", sheet.read_text()), sheet
