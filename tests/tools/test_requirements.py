"""What `make` installs."""

import re
import tomllib
from pathlib import Path

from tools.requirements import oldest, resolve

TEXT = (Path(__file__).parents[2] / "pyproject.toml").read_text()
PROJECT = tomllib.loads(TEXT)["project"]


def test_what_the_library_needs_is_of_the_lowest_version_that_it_admits():
    lines = oldest(PROJECT)
    pinned = {line.split("==")[0] for line in lines if "==" in line.split(";")[0]}
    assert pinned >= {"torch", "numpy", "typer", "onnx", "onnxscript", "onnxruntime", "gradio"}
    for line in lines:
        name, version = re.match(r"([\w-]+)(?:\[\w+\])?[=>]=([\d.]+)", line).groups()
        assert re.search(rf'"{name}(\[\w+\])?>={re.escape(version)}[";]', TEXT), line
    assert not pinned & {"pytest", "kornia", "mkdocs-material"}


def test_all_is_what_every_other_extra_of_the_library_needs():
    extras = set(PROJECT["optional-dependencies"]) - {"all", "dev", "test", "docs"}
    assert set(resolve(PROJECT, ["all"])) == set(resolve(PROJECT, extras))
    assert not any("spatial-transformer" in line for line in resolve(PROJECT, ["dev"]))


def test_the_library_itself_needs_torch_and_numpy():
    assert [re.match(r"\w+", line)[0] for line in PROJECT["dependencies"]] == ["torch", "numpy"]
