"""What a notebook in git may hold: pictures and text; no widget state, no traces of a machine."""

from pathlib import Path

import nbformat
import pytest
from support.paths import ROOT

FILES = sorted((ROOT / "notebooks").glob("*.ipynb"))
LARGEST = 1_500_000  # bytes


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_notebook_is_fit_for_readers(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert "widgets" not in notebook.metadata, "clear the widget state before saving"
    assert notebook.metadata.kernelspec.name == "python3"
    assert path.stat().st_size < LARGEST
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    assert not [out for out in outputs if out.output_type == "error"]
    assert "Traceback" not in str(outputs)
    assert str(ROOT) not in path.read_text()
    assert str(Path.home()) not in path.read_text()
