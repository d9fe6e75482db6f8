"""The notebooks of examples/, run as a reader runs them, each cell in turn."""

import os
import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from project import GRID, ROOT, Project


def executed(notebook: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> nbformat.NotebookNode:
    """The notebook with what its cells gave; raises what one of them raised."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    cells = nbformat.read(notebook, as_version=4)
    NotebookClient(cells, timeout=300, resources={"metadata": {"path": notebook.parent}}).execute()
    return cells


def shown(notebook: nbformat.NotebookNode) -> list[str]:
    """The text that each code cell printed, and "a picture" for each picture."""
    cells = [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]
    pictures = [sum("image/png" in output.get("data", {}) for output in outputs) for outputs in cells]
    texts = ["".join(output.get("text", "") for output in outputs) for outputs in cells]
    return [text + "a picture" * count for text, count in zip(texts, pictures, strict=True)]


@pytest.mark.filterwarnings("ignore::RuntimeWarning:zmq")
def test_the_gradients_of_a_model_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = shutil.copy(ROOT / "examples" / "your-gradients.ipynb", tmp_path)
    here = executed(Path(notebook), monkeypatch, {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"})
    kept = nbformat.read(ROOT / "examples" / "your-gradients.ipynb", as_version=4)
    right = {line.partition(":")[0]: line for line in shown(here)[-1].splitlines() if "right after" in line}
    assert [name for name, line in right.items() if int(line.split("%")[0].split()[-1]) > 90] == ["GRU", "LSTM"]
    assert [text.count("a picture") for text in shown(here)] == [text.count("a picture") for text in shown(kept)]


def test_a_text_of_ones_own(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("docs", "examples"):
        shutil.copytree(ROOT / folder, project.place / folder)
    project.edit(arch=GRID | {"bilstm": {"cell": "lstm", "bidirectional": True}})  # which the notebook leaves out
    environment = project.environment | {"PYTHONPATH": str(project.place / "src")}
    path = f"{environment['PATH']}{os.pathsep}{os.environ['PATH']}"
    here = executed(project.place / "examples" / "your-own-text.ipynb", monkeypatch, environment | {"PATH": path})
    trained, surprisals, text, picture = shown(here)[-4:]
    assert "lstm-clipped" in trained and "rnn-clipped" in trained and "bilstm" not in trained
    assert surprisals.count("gradient ") == 2
    assert text.startswith("the gradient ")
    assert picture.count("a picture") == 1
