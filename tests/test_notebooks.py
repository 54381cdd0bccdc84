"""Every notebook tells its story from top to bottom, with public names only."""

import ast
import os
from pathlib import Path
from unittest import mock

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)

# Warnings that users would see are errors; what the notebook machinery itself warns of at its end is not theirs.
# Nor is a compiled program that another worker is just writing.
STRICT = """
import warnings
warnings.simplefilter('error')
warnings.filterwarnings('ignore', 'Error reading persistent compilation cache')
"""


def _read(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return notebook


def _code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_there_are_notebooks():
    assert NOTEBOOKS


@each_notebook
def test_notebooks_run_from_top_to_bottom(path, optimized_environment):
    notebook = _read(path)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(STRICT))
    client = NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(FOLDER)}})
    with mock.patch.dict(os.environ, optimized_environment, clear=True):
        client.execute()
    printed = [output for cell in _code(notebook) for output in cell.outputs]
    errors = [output.text for output in printed if output.output_type == "stream" and output.name == "stderr"]
    assert not errors, errors


@each_notebook
def test_notebooks_are_stored_without_outputs(path):
    cells = _code(_read(path))
    assert all(not cell.outputs and cell.execution_count is None for cell in cells)


@each_notebook
def test_notebooks_use_public_names_only(path):
    lines = [line for cell in _code(_read(path)) for line in cell.source.splitlines() if not line.startswith("%")]
    tree = ast.parse("\n".join(lines))
    names = [node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names += [part for alias in node.names for part in alias.name.split(".")]
            names += (getattr(node, "module", None) or "").split(".")
    assert [name for name in names if name.startswith("_")] == []


@each_notebook
def test_notebooks_open_with_a_title_and_end_with_exercises(path):
    cells = _read(path).cells
    assert cells[0].source.startswith("# ")
    assert cells[-1].cell_type == "markdown"
    assert cells[-1].source.startswith("## Exercises")
