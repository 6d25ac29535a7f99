"""The table of releases of Linux: complete, asked by everybody, compared with by nobody."""

import ast
import re
import warnings
from pathlib import Path

import pytest
from support.rows import read_rows

import workbench as wb
from workbench.bpf.functions import KFUNCS
from workbench.bpf.releases import DEFAULT, RELEASES, Release, release
from workbench.errors import Unsupported, WorkbenchError
from workbench.models.allocators.policies import POLICIES

PACKAGE = Path(wb.__file__).parent
NAMES = list(RELEASES)
ALLOCATING = "r1 = arena ll\nr2 = 0\nr3 = 1\nr4 = -1\nr5 = 0\ncall bpf_arena_alloc_pages\n"
ALLOC = f"{ALLOCATING}r0 = 0\nexit"
QUIET = f"call bpf_preempt_disable\n{ALLOCATING}call bpf_preempt_enable\nr0 = 0\nexit"
FETCH = """
r1 = arena ll
r1 = addr_space_cast(r1, 0, 1)
r2 = 5
r2 = atomic_fetch_add((u64 *)(r1 + 0), r2)
r0 = r2
exit
"""


@pytest.mark.parametrize("row", RELEASES.values(), ids=str)
def test_rows_are_complete(row: Release) -> None:
    assert re.fullmatch(r"\d+\.\d+", row.name)
    assert row.allocator in POLICIES
    assert row.free_below_start in ("ignored", "corrupts")
    assert row.absent_result in ("kept", "zeroed")
    assert set(row.lacks) < set(KFUNCS)


def test_names_are_unique_and_in_order() -> None:
    versions = [tuple(map(int, name.split("."))) for name in NAMES]
    assert versions == sorted(set(versions))
    assert [row.name for row in RELEASES.values()] == NAMES
    assert DEFAULT.name in NAMES


def test_looking_up() -> None:
    assert release("7.3") is RELEASES["7.3"]
    assert release(DEFAULT) is DEFAULT


@pytest.mark.parametrize(("name", "near"), [("6.1", "6.1"), ("v6.18", "6.18"), ("7.30", "7.3")])
def test_an_unknown_release_is_refused_with_a_near_one(name: str, near: str) -> None:
    with pytest.raises(WorkbenchError, match=f"'{name}' is known; did you mean {near}"):
        release(name)


def test_an_unknown_release_far_from_any() -> None:
    with pytest.raises(
        WorkbenchError, match=f"no release of Linux 'x' is known; there is {NAMES[0]}"
    ):
        release("x")


def test_the_verifier_follows_the_release() -> None:
    program = wb.assemble(ALLOC, type="tc")
    assert "must be sleepable" in wb.verify(program, release="6.18").reason
    assert wb.verify(program, release="7.3").ok
    assert wb.verify(program, release=RELEASES["7.3"]).ok


@pytest.mark.parametrize(("name", "ok"), [("6.18", True), ("7.3", False)])
def test_an_address_at_the_end_of_the_arena(name: str, ok: bool) -> None:
    program = wb.assemble("r1 = arena + 8192 ll\nr0 = 0\nexit")
    assert wb.verify(program, arena_pages=2, release=name).ok == ok
    assert wb.verify(program, arena_pages=3, release=name).ok


@pytest.mark.parametrize("row", [RELEASES["6.18"], RELEASES["7.3"]], ids=str)
def test_a_kfunc_that_the_release_lacks_is_refused(row: Release) -> None:
    for name in sorted(name for name in KFUNCS if "stream" in name):
        verdict = wb.verify(wb.assemble(f"call {name}\nr0 = 0\nexit"), release=row)
        assert (f"Linux {row} has none" in verdict.reason) == (name in row.lacks)


def test_a_release_that_the_verifier_does_not_follow() -> None:
    with pytest.raises(Unsupported, match=r"the verifier does not follow Linux 6\.12 yet: signed_"):
        wb.verify(wb.assemble("r0 = 0\nexit"), release="6.12")


def test_profile_is_the_old_name() -> None:
    program = wb.assemble(ALLOC, type="tc")
    with pytest.warns(DeprecationWarning, match="release="):
        assert wb.verify(program, profile="7.3").ok
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        wb.verify(program, release="7.3")


def test_an_arena_has_a_release_and_its_engines_follow_it() -> None:
    program = wb.assemble(ALLOC, type="tc")
    with wb.Arena(4, release="7.3") as arena, wb.Interpreter(program, arena) as engine:
        assert arena.release.name == "7.3"
        engine.run(bytes(64))
        assert arena.live_pages == 1
    assert wb.Arena(4).release is DEFAULT


def test_an_allocator_that_the_arena_does_not_have() -> None:
    with pytest.raises(Unsupported, match=r"does not follow Linux 6\.12 yet: allocator is 'maple'"):
        wb.Arena(4, release="6.12")


def test_atomics_of_a_release_that_engines_do_not_follow() -> None:
    program = wb.assemble(FETCH)
    with wb.Arena(4) as arena, wb.Interpreter(program, arena) as engine:
        assert engine.run().r0 == 5  # the page is absent: kept
    with wb.Arena(4, release="7.3") as arena, pytest.raises(Unsupported, match="absent_result"):
        wb.Interpreter(program, arena)


def test_a_recording_forks_under_the_release_of_its_arena() -> None:
    program = wb.assemble(QUIET)  # 6.18 refuses it
    with wb.Arena(4, release="7.3") as arena, wb.Interpreter(program, arena) as engine:
        trace = engine.run(trace="steps").trace
    assert trace.report.asked.release == "7.3"
    assert len(trace.fork(0)) == len(trace)


def test_rows_name_the_releases_that_they_hold_for(tmp_path: Path) -> None:
    (tmp_path / "some.toml").write_text(
        '[[row]]\nname = "a"\nkind = "script"\nscript = ""\n'
        '[[row]]\nname = "b"\nkind = "script"\nscript = ""\nreleases = ["7.3"]\n'
        '[[row]]\nname = "c"\nkind = "script"\nscript = ""\nreleases = ["6.18", "7.3"]\n'
    )
    assert [row.name for row in read_rows(tmp_path)] == ["a", "c"]
    assert [row.name for row in read_rows(tmp_path, release("7.3"))] == ["b", "c"]
    assert [row.name for row in read_rows(tmp_path, None)] == ["a", "b", "c"]


def test_a_row_of_an_unknown_release_is_malformed(tmp_path: Path) -> None:
    text = '[[row]]\nname = "a"\nkind = "script"\nscript = ""\nreleases = ["5.0"]\n'
    (tmp_path / "some.toml").write_text(text)
    with pytest.raises(WorkbenchError, match=r"'5\.0'"):
        read_rows(tmp_path)


def comparisons(path: Path) -> list[int]:
    """Lines that compare something with the name of a release."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Compare | ast.MatchValue):
            values = [n.value for n in ast.walk(node) if isinstance(n, ast.Constant)]
            texts = [value for value in values if isinstance(value, str)]
            if any(re.fullmatch(r"[4-9]\.\d+(\.\d+)?", text) for text in texts):
                found.append(node.lineno)
    return found


def test_no_module_compares_with_a_release() -> None:
    found = {path.name: comparisons(path) for path in sorted(PACKAGE.rglob("*.py"))}
    assert not {name: lines for name, lines in found.items() if lines}


def test_comparisons_are_found(tmp_path: Path) -> None:
    path = tmp_path / "example.py"
    path.write_text('a == "6.18"\nb in ("7.3", c)\nrelease("6.12")\nx < 6.5\n')
    assert comparisons(path) == [1, 2]
