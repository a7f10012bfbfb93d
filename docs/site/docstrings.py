"""The house's docstrings as Markdown, for mkdocstrings: one small griffe extension.

They are read in the source and at the prompt, so their labels are lines of plain text:

    Raises: ShapeError, DTypeError.

    Args:
        image: ``(B, C, H, W)``, floating point.
            More of it.
        The others as in :func:`sample`.
"""

import re
from collections.abc import Iterator
from typing import Any

import griffe

LABELS = "Args|Returns|Raises|Source|Convention|Gradient"
LABEL = re.compile(rf"({LABELS})( \([^)]*\))?:(.*)")
ROLE = re.compile(r":(?:func|class|meth|mod|attr):`~?([^`]+)`")


class MarkdownDocstrings(griffe.Extension):
    """Turns every docstring into Markdown as it is read."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = to_markdown(obj.docstring.value)


def to_markdown(text: str) -> str:
    """A docstring as Markdown.

    >>> print(to_markdown("Source: equation (3),\\n    and (5).").strip())
    **Source:** equation (3), and (5).
    """
    return "\n".join(_blocks(ROLE.sub(r"``\1``", text).splitlines()))


def _blocks(lines: list[str]) -> Iterator[str]:
    k = 0
    while k < len(lines):
        label = LABEL.match(lines[k])
        if label:
            end = _end(lines, k + 1)
            yield from _section(label, lines[k + 1 : end])
            k = end
        elif lines[k].startswith(">>>"):
            end = k
            while end < len(lines) and lines[end].strip():
                end += 1
            yield from ("", "```pycon", *lines[k:end], "```", "")
            k = end
        else:
            yield lines[k]
            k += 1


def _end(lines: list[str], k: int) -> int:
    """Where what is indented below a label ends."""
    while k < len(lines) and lines[k].startswith(" "):
        k += 1
    return k


def _section(label: re.Match[str], below: list[str]) -> Iterator[str]:
    name, rest = label[1] + (label[2] or ""), label[3].strip()
    if rest:  # a sentence, which may go on below
        yield from ("", " ".join([f"**{name}:** {rest}", *(line.strip() for line in below)]), "")
        return
    yield from ("", f"**{name}:**", "")
    for line in below:
        text = line.strip()
        if line.startswith(" " * 5):  # goes on
            yield f"    {text}"
        else:
            entry = re.match(r"([\w, ]+): ", text)
            yield f"- {text}" if entry is None else f"- `{entry[1]}`: {text[entry.end() :]}"
    yield ""
