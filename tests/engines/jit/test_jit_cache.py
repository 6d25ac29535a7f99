"""Machine code kept on disk: found again, and never taken for another's."""

from pathlib import Path

import pytest

import workbench as wb
from workbench.engines.jit import cache, native


def test_code_is_found_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache.FOLDER, "path", tmp_path)
    program = wb.assemble("r0 = 6\nr0 *= 77\nexit")
    for expected in (False, True):
        native.forget()
        engine = wb.Jit(program)
        assert engine._tiers.current.cached == expected
        assert engine.run().r0 == 462


@pytest.mark.parametrize("damage", [b"", b"x" * 5000, None])
def test_damaged_and_foreign_code_is_ignored(
    damage: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Empty, overwritten, or the code of another program under this one's name."""
    monkeypatch.setattr(cache.FOLDER, "path", tmp_path)
    native.forget()
    wb.Jit(wb.assemble("r0 = 1\nexit"))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    native.forget()
    wb.Jit(wb.assemble("r0 = 2\nexit"))
    (mine,) = (path for path in tmp_path.iterdir() if path.name not in before)
    mine.write_bytes(next(iter(before.values())) if damage is None else damage)
    native.forget()
    engine = wb.Jit(wb.assemble("r0 = 2\nexit"))
    assert not engine._tiers.current.cached
    assert engine.run().r0 == 2


def test_without_a_disk_code_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache.FOLDER, "path", None)
    for _ in range(2):
        native.forget()
        assert not wb.Jit(wb.assemble("r0 = 3\nexit"))._tiers.current.cached


def test_the_key_tells_everything_apart() -> None:
    keys = [cache.key(*parts) for parts in (("a",), ("a", "b"), ("ab",), (b"a", True), ("b", "a"))]
    assert len(set(keys)) == len(keys)
