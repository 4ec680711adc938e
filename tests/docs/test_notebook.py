"""The notebook of the docs runs, and shows a trace, a list of citations and figures."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import nbformat
import pytest
from nbclient import NotebookClient

PAGE: Final = Path(__file__).parents[2] / "docs" / "notebooks" / "citations.ipynb"


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """Return the cells of code after a run.

    The first cell runs here too, where torch is loaded: it keeps the trace that the kernel loads.
    """
    notebook = nbformat.read(PAGE, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    folder = tmp_path_factory.mktemp("notebook")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        exec(compile(code[0].source, str(PAGE), "exec"), {})
    assert (folder / "answer.omnitrace").is_file()
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "IPYTHONDIR": str(folder / "ipython")}
    client = NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    client.execute(env=env)
    return code


def test_it_is_kept_without_outputs() -> None:
    for cell in nbformat.read(PAGE, as_version=4).cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


def test_it_shows_a_trace_citations_and_figures(cells: list[Any]) -> None:
    trace, listed, markdown, sources, modalities = (cell.outputs for cell in cells)
    assert "The key weighs eight grams" in trace[-1].data["text/plain"]
    assert trace[-1].data["text/html"].startswith('<iframe sandbox="allow-scripts" ')
    assert "[1] Weights, characters 27–54: The key weighs eight grams. (+" in listed[0].text  # noqa: RUF001
    assert "**Price list**" in markdown[-1].data["text/markdown"]
    for output in (sources, modalities):
        assert output[-1].data["image/png"]
