"""What pip needs for the tests with the oldest versions that pyproject.toml admits:

    python tests/oldest.py > requirements.txt

What the library needs, extras included, is of the version that stands there as the lowest; what
tests and documentation need besides is any that goes with it. (`make oldest`)
"""

import re
import tomllib
from pathlib import Path

#: extras that are for whoever works on the library
OF_OURS = ("docs", "test", "dev")

ROOT = Path(__file__).parents[1]


def requirements(text: str) -> list[str]:
    """Of a pyproject.toml.

    >>> requirements('''[project]
    ... dependencies = ["torch>=2.6"]
    ... optional-dependencies = {export = ["onnx>=1.17; os_name == 'posix'"], test = ["pytest>=8"]}
    ... ''')
    ['torch==2.6', "onnx==1.17; os_name == 'posix'", 'pytest>=8']
    """
    project = tomllib.loads(text)["project"]
    extras = project["optional-dependencies"]
    oldest = [
        re.sub(r"^([\w-]+)>=", r"\1==", requirement)
        for requirement in (
            *project["dependencies"],
            *(r for name, needs in extras.items() if name not in OF_OURS for r in needs),
        )
    ]
    others = [r for name in ("docs", "test") for r in extras.get(name, ())]
    return oldest + [r for r in others if not r.startswith("spatial-transformer[")]


if __name__ == "__main__":
    print(*requirements((ROOT / "pyproject.toml").read_text()), sep="\n")
