"""Prints figures of the code: its size, import cycles, the Python calls of a warp, private names.

python -m tools.metrics
"""

import ast
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median

import torch

import spatial_transformer as stn

PACKAGE = Path(stn.__file__).parent
#: what is not the library: the kit of experiments and the ways to use it
KIT = ("experiments", "demo", "cli")
#: private names of torch, wherever they are reached from
PRIVATE = re.compile(
    r"torch(\.\w+)*\._[a-zA-Z]|from torch(\.\w+)*\._|"
    r"_dynamo_marked|forward_ad\._|autograd_profiler\._"
)


def sources(package: Path = PACKAGE) -> dict[str, Path]:
    """The modules of the package by their dotted names."""
    return {
        ".".join((package.name, *path.relative_to(package).with_suffix("").parts)): path
        for path in sorted(package.rglob("*.py"))
    }


def sizes(paths: Iterable[Path]) -> str:
    """Lines, files, the median and the longest of them."""
    lines = {path: len(path.read_text().splitlines()) for path in paths}
    longest = max(lines, key=lines.__getitem__)
    return (
        f"{sum(lines.values()):,} lines in {len(lines)} files, "
        f"median {median(lines.values()):.0f}, "
        f"longest {lines[longest]} ({longest.relative_to(PACKAGE)})"
    )


def imports(name: str, path: Path, modules: Iterable[str]) -> set[str]:
    """The modules of ours that a module imports when it is loaded (not inside of functions)."""
    known = set(modules)
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                continue
            if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                continue
            if isinstance(child, ast.Import):
                found.update(alias.name for alias in child.names)
            elif isinstance(child, ast.ImportFrom) and child.module:
                found.add(child.module)
                found.update(f"{child.module}.{alias.name}" for alias in child.names)
            visit(child)

    visit(ast.parse(path.read_text()))
    packages = {f"{target}.__init__" for target in found}
    return ((found | packages) & known) - {name}


def cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The groups of modules that import each other (strongly connected, more than one).

    >>> cycles({"a": {"b"}, "b": {"c"}, "c": {"b"}})
    [['b', 'c']]
    """
    reached = {name: _reach(graph, name) for name in graph}
    groups = {
        tuple(sorted(other for other in graph if other in reached[name] and name in reached[other]))
        for name in graph
    }
    return [list(group) for group in sorted(groups) if len(group) > 1]


def _reach(graph: dict[str, set[str]], start: str) -> set[str]:
    reached: set[str] = set()
    waiting = [start]
    while waiting:
        for target in graph[waiting.pop()] - reached:
            reached.add(target)
            waiting.append(target)
    return reached


def python_calls(call: Callable[[], object]) -> list[str]:
    """The functions of ours that a call calls, the second time that it is made."""
    call()
    names: list[str] = []

    def note(frame: object, event: str, argument: object) -> None:
        code = frame.f_code  # type: ignore[attr-defined]
        if event == "call" and code.co_filename.startswith(str(PACKAGE)):
            names.append(code.co_qualname)

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    return names


def private_names() -> list[str]:
    """Where private names of torch stand, but for the one file that they belong in."""
    return [
        f"{name}: {line.strip()}"
        for name, path in sources().items()
        if name != "spatial_transformer.ops.torch_internals"
        for line in path.read_text().splitlines()
        if PRIVATE.search(line)
    ]


def main() -> None:
    modules = sources()
    kit = {n: p for n, p in modules.items() if p.relative_to(PACKAGE).parts[0] in KIT}
    print("library:", sizes(p for n, p in modules.items() if n not in kit))
    print("experiments, demo, command line:", sizes(kit.values()))
    graph = {name: imports(name, path, modules) for name, path in modules.items()}
    print("import cycles:", len(cycles(graph)), *cycles(graph))
    image, theta = torch.rand(1, 1, 8, 8), torch.tensor([[1.0, 0.0, 0.0, 0.0, 1.0, 0.0]])
    for what, maps in (("", theta), (" with a gradient", theta.clone().requires_grad_())):
        calls = python_calls(lambda maps=maps: stn.warp(image, maps, "affine"))  # type: ignore[misc]
        print(f"Python calls of a warp{what}:", len(calls))
    print("private names of torch outside of one file:", len(private_names()))


if __name__ == "__main__":
    main()
