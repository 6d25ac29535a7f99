"""Forked runs, differences between runs, and the file for Perfetto."""

import json

import numpy as np
import pytest

import workbench as wb
from workbench.debugger.difference import align
from workbench.errors import TraceError, WorkbenchError
from workbench.examples import programs

LOOP = """
    r6 = arena ll
    r6 = arena + 0 ll
    r6 = cast_kern(r6)
    r7 = 0
    r0 = 0
again:
    r1 = *(u64 *)(r6 + 0)
    r0 += r1
    r7 += 1
    if r7 != 5 goto again
    *(u64 *)(r6 + 8) = r0
    exit
"""


def loop():
    arena = wb.Arena(4)
    arena.user.store(arena.user_start, "u64", 10)
    return wb.record(wb.assemble(LOOP, name="loop"), arena), arena.user_start


def result(trace):
    return int(trace.state(len(trace)).registers[0])


def test_a_fork_without_a_change_is_the_same_run():
    trace, _ = loop()
    for step in (0, 7, len(trace) - 1):
        again = trace.fork(step)
        assert again.frame.equals(trace.frame)
        assert trace.diff(again).empty


def test_a_changed_register_changes_what_follows():
    trace, _ = loop()
    at = int(np.flatnonzero(trace.steps["pc"] == trace.steps["pc"][-3])[0])
    forked = trace.fork(at, registers={7: 4})
    assert result(trace) == 50
    assert result(forked) < 50
    assert len(forked) < len(trace)
    assert (forked.frame[:at] == trace.frame[:at]).all(axis=None)


def test_changed_memory_changes_what_is_read_from_there_on():
    trace, start = loop()
    second = np.flatnonzero(trace.steps["address"] == start)[1]
    forked = trace.fork(int(second), memory={start: (100).to_bytes(8, "little")})
    assert result(forked) == 10 + 4 * 100
    differences = trace.diff(forked)
    assert differences.iloc[0][["step", "what", "value", "other_value"]].tolist() == [
        second, "r1", 10, 100,
    ]  # fmt: skip
    assert differences.iloc[-1]["what"] == f"[{start + 8:#x}]"


def test_a_fork_restores_which_pages_were_free():
    context = programs.example("allocator").contexts
    loaded = programs.load("allocator")
    arena = wb.Arena(64)
    for pages in (3, 1, 2):
        wb.record(loaded["allocate"], arena, context["allocate"].pack(pages))
    arena.reserve(arena.user_start + 20 * 4096, 4)
    trace = wb.record(loaded["churn"], arena, context["churn"].pack(40, 7))
    assert trace.fork(len(trace) // 2).frame.equals(trace.frame)


def test_a_loaded_trace_forks_too(tmp_path):
    trace, start = loop()
    trace.save(tmp_path / "run.trace")
    loaded = wb.load_trace(tmp_path / "run.trace")
    assert result(loaded.fork(8, memory={start: bytes(8)})) == result(
        trace.fork(8, memory={start: bytes(8)})
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"registers": {10: 0}}, "r10 cannot be changed"),
        ({"memory": {0: b"x"}}, "not in the arena"),
        ({"memory": {"page 2": b"x"}}, "page 2 is absent"),
    ],
)
def test_what_cannot_be_changed_is_refused(change, message):
    trace, start = loop()
    if "memory" in change and "page 2" in change["memory"]:
        change = {"memory": {start + 2 * 4096: b"x"}}
    with pytest.raises(TraceError, match=message):
        trace.fork(5, **change)
    with pytest.raises(TraceError, match="no step 1000000"):
        trace.fork(1_000_000)


def test_the_two_conversion_modes_differ_in_their_pointers_alone():
    program = programs.load("list")["main"]
    runs = [wb.record(program, wb.Arena(64, flags)) for flags in (0, wb.ArenaFlags.NO_USER_CONV)]
    differences = runs[0].diff(runs[1])
    assert len(differences) > 10
    assert not (differences["what"] == "path").any()
    low = 0xFFFFFFFF
    assert all(
        a & low == b & low
        for a, b in zip(differences["value"], differences["other_value"], strict=True)
    )


def test_runs_that_part_are_aligned_again():
    branch = wb.assemble(
        "r2 = *(u64 *)(r1 + 0)\nr0 = 0\nif r2 == 0 goto skip\nr0 = 1\nr0 = 2\nskip:\n"
        + "r3 = 5\nr4 = 6\n" * 10
        + "exit\n"
    )
    one, other = (wb.record(branch, ctx=bytes([n] * 8)) for n in (0, 1))
    stretches = align(one, other)
    assert [s.together for s in stretches] == [True, False, True]
    paths = one.diff(other)
    alone = paths[paths["what"] == "path"]
    assert alone[["step", "other_step", "pc"]].values.tolist() == [[-1, 3, 3], [-1, 4, 4]]
    swapped = other.diff(one)
    assert swapped[swapped["what"] == "path"]["step"].tolist() == [3, 4]


def test_different_programs_cannot_be_compared():
    one = wb.record(wb.assemble("r0 = 0\nexit"))
    with pytest.raises(WorkbenchError, match="different programs"):
        one.diff(wb.record(wb.assemble("r0 = 1\nexit")))


def test_perfetto_shows_calls_pages_and_faults(tmp_path):
    trace = wb.record(programs.load("hash")["main"], wb.Arena(64))
    rows = json.loads(trace.to_perfetto(tmp_path / "run.json").read_text())["traceEvents"]
    slices = [row for row in rows if row["ph"] == "X"]
    assert max(row["dur"] for row in slices) == len(trace)
    calls = np.isin(trace.frame["text"].str.contains("call "), True) & (trace.steps["depth"] >= 0)
    local = [
        t for t in np.flatnonzero(calls) if trace.steps["depth"][t + 1] > trace.steps["depth"][t]
    ]
    assert len(slices) == 1 + len(local)
    counters = [row["args"]["pages"] for row in rows if row["ph"] == "C"]
    assert counters[-1] == len(trace.initial.pages) + 5 - 2
    names = {row["name"] for row in rows if row["ph"] == "i"}
    assert {"alloc", "free", "absent read"} <= names


def test_perfetto_has_a_thread_for_each_cpu(tmp_path):
    program = wb.assemble("r0 = 0\nexit")
    trace = wb.record_cpus([program, program], wb.Arena(4))
    rows = json.loads(trace.to_perfetto(tmp_path / "run.json").read_text())["traceEvents"]
    assert {row["args"]["name"] for row in rows if row["name"] == "thread_name"} == {
        "CPU 0", "CPU 1", "user space",
    }  # fmt: skip
