"""Prints what pip needs, a requirement a line, out of pyproject.toml.

    python -m tools.requirements dev     # of an extra, those that it names resolved
    python -m tools.requirements --oldest

The latter is for the tests with the oldest versions admitted: what the library needs, extras
included, in the version that stands there as the lowest; what tests and documentation need besides,
in any that goes with it.
"""

import re
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

#: extras that are for whoever works on the library
FOR_DEVELOPMENT = ("docs", "test", "dev")


def resolve(project: dict[str, Any], extras: Iterable[str]) -> list[str]:
    """The requirements of extras of a project's table, in place of its own extras theirs.

    >>> resolve({"name": "a", "optional-dependencies": {"x": ["b>=1"], "y": ["a[x]", "c"]}}, ["y"])
    ['b>=1', 'c']
    """
    found: dict[str, None] = {}
    for extra in extras:
        for requirement in project["optional-dependencies"][extra]:
            own = re.fullmatch(rf"{re.escape(project['name'])}\[(.*)\]", requirement)
            found |= dict.fromkeys(resolve(project, own[1].split(",")) if own else [requirement])
    return list(found)


def oldest(project: dict[str, Any]) -> list[str]:
    """For the tests with the oldest versions.

    >>> extras = {"export": ["onnx>=1.17; os_name == 'posix'"], "docs": [], "test": ["pytest>=8"]}
    >>> oldest({"name": "a", "dependencies": ["torch>=2.6"], "optional-dependencies": extras})
    ['torch==2.6', "onnx==1.17; os_name == 'posix'", 'pytest>=8']
    """
    extras = [e for e in project["optional-dependencies"] if e not in FOR_DEVELOPMENT]
    library = [*project["dependencies"], *resolve(project, extras)]
    pinned = [re.sub(r"^([\w-]+)>=", r"\1==", requirement) for requirement in library]
    tools = resolve(project, ("docs", "test"))
    return pinned + [requirement for requirement in tools if requirement not in library]


if __name__ == "__main__":
    table = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    names = sys.argv[1:]
    print(*(oldest(table) if names == ["--oldest"] else resolve(table, names)), sep="\n")
