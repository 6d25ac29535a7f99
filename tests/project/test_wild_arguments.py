"""A wrong argument of a public function is named in a WorkbenchError, never met deep inside."""

from pathlib import Path

import pytest
from support.paths import C_PROGRAMS
from support.wild_arguments import calls, entries

import workbench as wb
from workbench.errors import WorkbenchError

VALUES = {"ArenaFlags", "MapDefinition", "Trace", "__version__"}  # they check nothing themselves


def test_every_public_name_is_tried() -> None:
    assert set(wb.__all__) <= entries().keys() | VALUES


def test_wild_arguments(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    wrong = []
    for what, call in (one for name in entries() for one in calls(name)):
        try:
            made = call()
        except WorkbenchError:
            continue
        except Exception as error:
            wrong.append(f"{what}: {error!r}")
        else:
            getattr(made, "close", int)()
    assert wrong == []


def test_what_is_wanted_is_said() -> None:
    obj = wb.load_object(C_PROGRAMS / "list.o")
    with pytest.raises(WorkbenchError, match=r"program must be one of the object's programs"):
        wb.Interpreter(obj)  # type: ignore[arg-type]
    with pytest.raises(WorkbenchError, match=r"wb\.assemble\(text\) makes one, not 'text'"):
        wb.record("text")  # type: ignore[arg-type]
    with pytest.raises(WorkbenchError, match="no program 'ad'; there is"):
        _ = obj.programs["ad"]
    with pytest.raises(WorkbenchError, match=r'globals\["x"\] = 5'):
        obj.globals.x = 5  # type: ignore[attr-defined]
    with pytest.raises(WorkbenchError, match=r"ctx must be bytes, as bytes\(16\), not 5"):
        wb.record(wb.assemble("exit"), ctx=5, verify=False)  # type: ignore[arg-type]
