"""The quickstart as a notebook: its page, cell by cell, without outputs.

python -m docs.site.notebook
"""

import re
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from spatial_transformer.files import write_whole

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "quickstart.md"
NOTEBOOK = ROOT / "notebooks" / "quickstart.ipynb"


def to_notebook(page: str) -> str:
    """A page's ```python blocks as code cells, all between them as Markdown cells; as JSON."""
    cells = []
    parts = re.split(r"^```python\n(.*?)^```\n", page, flags=re.S | re.M)
    for k, part in enumerate(part.strip() for part in parts):
        if k % 2:
            cells.append(new_code_cell(part))
        elif part:
            cells.append(new_markdown_cell(re.sub(r"\]\((?!\w+:|\.\.)", "](../docs/", part)))
    for k, cell in enumerate(cells):
        cell["id"] = f"cell-{k}"  # otherwise another at every run
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    text: str = nbformat.writes(new_notebook(cells=cells, metadata={"kernelspec": kernel}))
    return text + "\n"


if __name__ == "__main__":
    notebook = to_notebook(PAGE.read_text())
    write_whole(NOTEBOOK, lambda p: p.write_text(notebook))
