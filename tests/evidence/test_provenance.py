"""Provenance: plain values without names of places, in the result's own file, whole or never."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.paths import ROOT

from workbench.errors import WorkbenchError
from workbench.evidence import provenance

FRAME = pd.DataFrame({"case": pd.Categorical(["a", "b"]), "ns": [1.5, 2.5], "round": [0, 1]})


def test_what_is_known() -> None:
    about = provenance.provenance()
    assert json.loads(json.dumps(about)) == about
    assert about["cpu"]
    assert about["packages"]["pandas"] == pd.__version__  # type: ignore[index]
    assert about["commit"] is None or len(str(about["commit"])) == 40
    assert (about["dirty"] is None) == (about["commit"] is None)
    assert str(about["date"]).endswith("Z")


def test_no_names_of_places() -> None:
    import platform

    text = json.dumps(provenance.provenance())
    assert str(ROOT) not in text
    assert str(Path.home()) not in text
    assert f'"{platform.node()}"' not in text


def test_outside_git(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(provenance, "CHECKOUT", tmp_path)
    about = provenance.provenance()
    assert (about["commit"], about["dirty"]) == (None, None)


def test_without_git(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert provenance.provenance()["commit"] is None


def test_a_package_that_is_not_there() -> None:
    assert provenance._version("no-such-package-anywhere") is None


def test_there_and_back(tmp_path: Path) -> None:
    path = provenance.save(FRAME, tmp_path / "deep" / "frame.parquet")
    found = provenance.load(path)
    pd.testing.assert_frame_equal(found, FRAME)
    about = found.attrs["provenance"]
    assert provenance.describe(about).startswith(about["kernel"])
    assert FRAME.attrs == {}
    again = provenance.load(provenance.save(found, tmp_path / "again.parquet"))
    assert again.attrs == found.attrs


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = provenance.save(FRAME, tmp_path / "frame.parquet")
    bad = FRAME.assign(odd=[object(), object()])
    with pytest.raises((ValueError, TypeError)):
        provenance.save(bad, path)
    assert provenance.load(path)["ns"].tolist() == [1.5, 2.5]
    assert [file.name for file in tmp_path.iterdir()] == ["frame.parquet"]


@pytest.mark.parametrize("content", [None, b"", b"PAR1 and not much more"])
def test_files_that_are_no_results(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "frame.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WorkbenchError, match="cannot be read"):
        provenance.load(path)


def test_a_result_without_provenance(tmp_path: Path) -> None:
    FRAME.to_parquet(tmp_path / "frame.parquet")
    with pytest.raises(WorkbenchError, match="where it comes from"):
        provenance.load(tmp_path / "frame.parquet")


@pytest.mark.parametrize(
    "column",
    [[1, None], [1.5, float("nan")], ["a", None], [True, False], [np.float32(0.1), 1]],
)
def test_the_hash_survives_the_file(column: list, tmp_path: Path) -> None:
    frame = pd.DataFrame({"value": pd.Series(column, dtype=object)})
    found = provenance.load(provenance.save(frame, tmp_path / "frame.parquet"))
    assert provenance.content_hash(found) == provenance.content_hash(frame)


def test_a_changed_result_is_found_out(tmp_path: Path) -> None:
    path = provenance.save(FRAME, tmp_path / "frame.parquet")
    forged = provenance.load(path)
    forged["ns"] *= 2
    forged.to_parquet(path)
    with pytest.raises(WorkbenchError, match="its hash does not fit"):
        provenance.load(path)


def test_a_result_of_another_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = provenance.save(FRAME, tmp_path / "frame.parquet")
    monkeypatch.setattr(provenance, "SCHEMA", 2)
    with pytest.raises(WorkbenchError, match="form 1; this version reads form 2: measure anew"):
        provenance.load(path)
