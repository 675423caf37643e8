"""The notebooks run without an error, with small data and short training."""

import os
from pathlib import Path
from typing import Any

import pytest

from docs.build_site import ROOT
from tests.helpers.page_folder import SHORT

FOLDER = ROOT / "docs" / "notebooks"


def run_notebook(name: str, **parameters: Any) -> list[Any]:
    """Run a notebook with other values of its parameters; return its cells with their outputs."""
    nbformat = pytest.importorskip("nbformat", reason="nbclient is not installed")
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    (place,) = (
        index
        for index, cell in enumerate(notebook.cells)
        if "parameters" in cell.metadata.get("tags", ())
    )
    given = "\n".join(f"{key} = {value!r}" for key, value in parameters.items())
    notebook.cells.insert(place + 1, nbformat.v4.new_code_cell(given))
    client = nbclient.NotebookClient(
        notebook, timeout=600, resources={"metadata": {"path": str(FOLDER)}}
    )
    client.execute(env=os.environ | {"PYTHONPATH": str(ROOT / "src")})
    cells: list[Any] = notebook.cells
    return cells


def kinds(cell: Any) -> set[str]:
    """Return the media types of the results of a cell."""
    return {kind for output in cell.outputs for kind in output.get("data", ())}


def test_predict_and_explain(page_folder: Path) -> None:
    cells = run_notebook(
        "predict-and-explain",
        run=str(page_folder / "runs" / "mine"),
        images=str(page_folder / "my_data" / "images"),
        threshold=0.0,
    )
    shown = [kinds(cell) for cell in cells if cell.cell_type == "code"]
    assert sum("image/png" in each for each in shown) == 2  # the prediction and the explanation
    assert any("text/html" in each for each in shown)


def test_fine_tune_on_digits(tmp_path: Path) -> None:
    cells = run_notebook("fine-tune", work=str(tmp_path), minutes=1.0, scenes=8, options=SHORT)
    assert (tmp_path / "model.onnx").is_file()
    assert "text/html" in kinds(cells[-2])  # a prediction of the exported file


@pytest.mark.long
def test_fine_tune_on_a_folder(page_folder: Path, tmp_path: Path) -> None:
    folder = str(page_folder / "my_data")
    run_notebook("fine-tune", folder=folder, work=str(tmp_path), minutes=1.0, options=SHORT)
    assert (tmp_path / "second" / "model_final.pth").is_file()


def test_first_stage(page_folder: Path) -> None:
    image = page_folder / "my_data" / "images" / "val_1.jpg"
    run = str(page_folder / "runs" / "mine")
    run_notebook("first-stage", run=run, image=str(image), iterations=1, batch=2)
