"""An environment that has of the packages installed here some alone, and what those need."""

import re
import subprocess
import venv
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path


def needed(names):
    """The distributions that ``names`` need, themselves included, without extras."""
    found, waiting = {}, list(names)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:  # for another platform
            continue
        for requirement in found[name].requires or ():
            if "extra ==" not in requirement:
                waiting.append(re.match(r"[\w.-]+", requirement)[0])
    return found


def make_environment(folder, *names):
    """A virtual environment with links to these packages; its interpreter."""
    venv.EnvBuilder(with_pip=False, symlinks=True).create(folder)
    (site,) = Path(folder).glob("lib/python*/site-packages")
    for package in needed(names).values():
        for top in {Path(str(file)).parts[0] for file in package.files or ()}:
            source = Path(str(package.locate_file(top)))
            link = site / top
            if top not in ("..", "__pycache__") and source.exists() and not link.exists():
                link.symlink_to(source)
    return Path(folder) / "bin" / "python"


def run(python, code, *arguments, **variables):
    """Run code in an environment, without a compiler or anything else on the path; its output."""
    done = subprocess.run(
        [str(python), "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={"PATH": "", "OMP_NUM_THREADS": "1", "HOME": "/nowhere", **variables},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
