"""What mkdocs makes besides the pages in docs/: called by it, see `hooks` in mkdocs.yml.

- the API: one page a module, docs/api/<as the source>.md, and their part of the navigation
- pages out of files that live elsewhere: README.md, CHANGELOG.md, the experiments' READMEs, ...
- links to files of the repository, wherever they are
- equations (```math blocks) as pictures, and the gallery
"""

import hashlib
import inspect
import io
import posixpath
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "spatial_transformer"
sys.path.insert(0, str(ROOT))  # whatever folder mkdocs is called from

import spatial_transformer  # noqa: E402
from docs.site import gallery  # noqa: E402

#: pages that are files elsewhere in the repository
ELSEWHERE = {
    "index.md": "README.md",
    "architecture.md": "ARCHITECTURE.md",
    "cpu_backend.md": "src/spatial_transformer/ops/cpu/DESIGN.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    **{
        f"results/{page.parent.name}.md": page.relative_to(ROOT).as_posix()
        for page in sorted(SOURCE.glob("experiments/tables/*/README.md"))
    },
}


def modules() -> dict[str, str]:
    """The API's pages: docs/<page> -> the module it shows. Private modules have none."""
    pages = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        if parts[-1] == "__init__":
            parts = (*parts[:-1], "index")
        elif any(part.startswith("_") for part in parts):
            continue
        name = [part for part in parts if part != "index"]
        pages["/".join(("api", *parts)) + ".md"] = ".".join(("spatial_transformer", *name))
    return pages


def on_config(config: Any) -> Any:
    config.nav.append({"API": _tree("api/")})
    paper = next(part["The paper"] for part in config.nav if "The paper" in part)
    paper.extend(page for page in ELSEWHERE if page.startswith("results/"))
    return config


def _tree(folder: str) -> list[Any]:
    """The navigation of the API below a folder: pages by name, then folders."""
    pages = modules()
    here = [p for p in pages if posixpath.dirname(p) + "/" == folder]
    below = sorted({p[len(folder) :].split("/")[0] for p in pages if p.startswith(folder)})
    below = [name for name in below if f"{folder}{name}" not in pages]
    first = [p for p in here if p.endswith("/index.md")]
    rest = [{Path(p).stem: p} for p in here if p not in first]
    return [*first, *({name: _tree(f"{folder}{name}/")} for name in below), *rest]


def on_files(files: Files, config: Any) -> Files:
    for page, module in modules().items():
        # guides are found before it
        text = f"---\ntitle: {module}\nsearch: {{ boost: 0.3 }}\n---\n"
        if page == "api/index.md":
            text += public_names()
            options = "\n    options: { heading_level: 2 }\n"
        else:
            options = "\n"
        text += f"::: {module}{options}"
        files.append(File.generated(config, page, content=text))
    for page, source in ELSEWHERE.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text()))
    files.append(File.generated(config, "gallery.md", content=gallery.page()))
    for picture, content in gallery.pictures().items():
        files.append(File.generated(config, picture, content=content))
    return files


def public_names() -> str:
    """A table of what `import spatial_transformer as stn` gives."""
    lines = [
        "# API",
        "",
        "What `import spatial_transformer as stn` gives; the modules are on the left.",
        "",
    ]
    lines += ["| stn. | |", "|---|---|"]
    for name, value in sorted(vars(spatial_transformer).items(), key=lambda item: item[0].lower()):
        if not name.startswith("_") and not inspect.ismodule(value):
            lines.append(f"| {gallery.link(value)} | {gallery.summary(value)} |")
    return "\n".join(lines) + "\n\n"


def on_page_content(html: str, page: Any, config: Any, files: Files) -> str:
    """The modules' own code is shown, and not searched."""
    source = '<details class="mkdocstrings-source"'
    return html.replace(f"{source}>", f"{source} data-search-exclude>")


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    at = page.file.src_uri
    source = ELSEWHERE.get(at, f"docs/{at}")

    def link(found: re.Match[str]) -> str:
        target, anchor = found[1], found[2] or ""
        place = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        there = _published(place, files, config)
        return f"]({posixpath.relpath(there, posixpath.dirname(at) or '.')}{anchor})"

    def equation(found: re.Match[str]) -> str:
        svg = draw_equation(found[1])
        picture = f"images/equations/{hashlib.sha256(svg.encode()).hexdigest()[:12]}.svg"
        if files.get_file_from_path(picture) is None:
            files.append(File.generated(config, picture, content=svg))
        there = posixpath.relpath(picture, posixpath.dirname(at) or ".")
        return f"![{' '.join(found[1].split())}]({there}){{ .equation }}"

    markdown = re.sub(r"\]\((?!\w+:)([^)#\s]+)(#[^)]*)?\)", link, markdown)
    return re.sub(r"^```math\n(.*?)^```", equation, markdown, flags=re.S | re.M)


def draw_equation(lines: str) -> str:
    """TeX (matplotlib's share of it), a line each, as an SVG picture. Nothing is fetched."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    rows = lines.strip().splitlines()
    step = 0.62 if "\\sum" in lines else 0.42  # inches
    with rc_context({"mathtext.fontset": "cm", "svg.hashsalt": "equation"}):
        figure = Figure(figsize=(1, 1))
        for k, row in enumerate(rows):
            figure.text(0, -step * k, f"${row.strip()}$", fontsize=15)
        out = io.StringIO()
        figure.savefig(
            out,
            format="svg",
            bbox_inches="tight",
            pad_inches=0.05,
            transparent=True,
            metadata={"Date": None, "Creator": None},
        )
    return out.getvalue()


def _published(place: str, files: Files, config: Any) -> str:
    """Where a file of the repository is in the site: a page, or a copy under files/."""
    for page, source in ELSEWHERE.items():
        if place == source:
            return page
    if place.startswith("docs/"):
        return place.removeprefix("docs/")
    copy = f"files/{place}"
    if (ROOT / place).is_file() and files.get_file_from_path(copy) is None:
        files.append(File.generated(config, copy, abs_src_path=str(ROOT / place)))
    return copy
