"""What `make oldest` installs."""

import re
import runpy
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_what_the_library_needs_is_of_the_lowest_version_that_it_admits():
    text = (ROOT / "pyproject.toml").read_text()
    lines = runpy.run_path(str(ROOT / "tests" / "oldest.py"))["requirements"](text)
    pinned = {line.split("==")[0] for line in lines if "==" in line.split(";")[0]}
    assert pinned >= {"torch", "numpy", "typer", "onnx", "onnxscript", "onnxruntime", "gradio"}
    for line in lines:
        name, version = re.match(r"([\w-]+)(?:\[\w+\])?[=>]=([\d.]+)", line).groups()
        assert re.search(rf'"{name}(\[\w+\])?>={re.escape(version)}[";]', text), line
    assert not pinned & {"pytest", "kornia", "mkdocs-material"}
