"""The quickstart's notebook is its page, and runs from top to bottom."""

import re

import nbformat
import pytest
from docs.site.notebook import NOTEBOOK, PAGE, to_notebook
from nbclient import NotebookClient


def test_it_is_the_page():
    assert NOTEBOOK.read_text() == to_notebook(PAGE.read_text()), "python -m docs.site.notebook"
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [c.source + "\n" for c in code] == re.findall(
        r"^```python\n(.*?)^```", PAGE.read_text(), re.S | re.M
    )
    assert not any(cell.outputs for cell in code)


@pytest.mark.slow
@pytest.mark.network  # fetches MNIST, if it is not there
def test_it_runs(tmp_path):
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    said = "".join(
        out.text for cell in notebook.cells for out in cell.get("outputs", []) if "text" in out
    )
    error = float(re.search(r"test error ([\d.]+) %", said)[1])
    assert error < 10
    assert (tmp_path / "quickstart.png").stat().st_size > 10_000
