"""Every code block of every page runs, in the order of the page, and prints what the page says."""

import doctest
import re
import sys
import types
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(python|pycon)\n(.*?)^```", re.S | re.M)
#: runs as a notebook instead
NOTEBOOK = "docs/quickstart.md"
#: those that train networks, or export them
SLOW = ("docs/your_network.md", "docs/export.md")
#: pages with blocks of another library
NEEDS = {"docs/migrating.md": ("kornia", "cv2", "scipy")}


def pages() -> list[str]:
    found = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    names = [p.relative_to(ROOT).as_posix() for p in found if BLOCK.search(p.read_text())]
    names.remove(NOTEBOOK)
    return names


def run_page(text: str, name: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run a page's blocks one after the other in one module; how many there were."""
    module = types.ModuleType("page")  # a real one: classes defined in it can be pickled
    names = vars(module)
    parser = doctest.DocTestParser()
    runner = doctest.DocTestRunner(
        verbose=False, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    )
    blocks = list(BLOCK.finditer(text))
    monkeypatch.setitem(sys.modules, "page", module)
    for block in blocks:
        line = text[: block.start()].count("\n") + 1
        if block[1] == "python":
            exec(compile("\n" * line + block[2], name, "exec"), names)
        else:
            test = parser.get_doctest(block[2], names, f"{name}:{line}", name, line)
            said: list[str] = []
            runner.run(test, out=said.append, clear_globs=False)
            assert not said, "".join(said)
            names.update(test.globs)
    return len(blocks)


@pytest.mark.parametrize(
    "page", [pytest.param(p, marks=[pytest.mark.slow] * (p in SLOW)) for p in pages()]
)
@pytest.mark.filterwarnings("default::spatial_transformer.modules.monitor.CollapseWarning")
def test_its_code_runs(page, tmp_path, monkeypatch):
    for package in NEEDS.get(page, ()):
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    monkeypatch.chdir(tmp_path)
    assert run_page((ROOT / page).read_text(), page, monkeypatch)


def test_a_wrong_number_is_found(monkeypatch):
    good = "```python\nx = 1\n```\n```pycon\n>>> x\n1\n```\n"
    assert run_page(good, "good", monkeypatch) == 2
    with pytest.raises(AssertionError, match=r"Expected:\n +2\n +Got:\n +1"):
        run_page(good.replace("\n1\n", "\n2\n"), "bad", monkeypatch)
