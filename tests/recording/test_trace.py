"""A recording has every state of a run, forwards and backwards."""

import numpy as np
import pytest

import workbench as wb
from workbench.errors import TraceError

PROGRAM = """
    r6 = r1
    r1 = arena ll
    r2 = 0
    r3 = 2
    r4 = -1
    r5 = 0
    call bpf_arena_alloc_pages
    r7 = cast_kern(r0)
    r8 = 0
fill:
    r1 = r8
    call square
    r2 = r8
    r2 <<= 3
    r2 += r7
    *(u64 *)(r2 + 0) = r0
    *(u8 *)(r2 + 4090) = r0
    r8 += 1
    if r8 != 200 goto fill
    r1 = 1
    r1 = atomic_fetch_add((u64 *)(r7 + 8), r1)
    r3 = *(u64 *)(r7 + 16384)
    *(u64 *)(r7 + 16384) = r3
    r1 = arena ll
    r2 = r7
    r3 = 1
    call bpf_arena_free_pages
    r0 = 0
    exit
square:
    r0 = r1
    r0 *= r1
    exit
"""


@pytest.fixture(scope="module")
def run():
    """The trace, and the registers and arena bytes that stepping shows before every step."""
    program = wb.assemble(PROGRAM)
    arena = wb.Arena(8)
    arena.user.store(arena.user_start + 3 * 4096, "u64", 0x1234)
    trace = wb.record(program, arena, ctx=bytes(8))
    again = wb.Arena(8)
    again.user.store(again.user_start + 3 * 4096, "u64", 0x1234)
    states = []
    with wb.Interpreter(program, again) as engine:
        engine.run(bytes(8), fuel=0)
        for _ in range(len(trace)):
            pages = again.present
            snapshot = [
                again.bytes[p * 4096 : p * 4096 + 4096].copy() if pages[p] else None
                for p in range(4)
            ]
            states.append((engine.pc, engine.depth, engine.registers, snapshot))
            engine.step()
    return trace, states


def test_recording_is_whole(run):
    trace, states = run
    assert trace.complete
    assert trace.stop == "exit"
    assert len(trace) == len(states) > 5 * 256


def test_every_state_is_the_one_that_stepping_shows(run):
    trace, states = run
    for t, (pc, depth, registers, _) in enumerate(states):
        state = trace.state(t)
        assert (state.pc, state.depth) == (pc, depth), t
        assert state.registers.tolist() == registers.tolist(), t


def test_memory_at_any_step_is_the_one_that_stepping_shows(run):
    trace, states = run
    for t in [*range(0, len(states), 37), len(states) - 1]:
        for page in range(4):
            expected, found = states[t][3][page], trace.memory(t, page)
            assert (expected is None) == (found is None), (t, page)
            assert expected is None or np.array_equal(expected, found), (t, page)


def test_saved_and_loaded_trace_is_the_same(run, tmp_path):
    trace, _ = run
    trace.save(tmp_path / "run.trace")
    loaded = wb.load_trace(tmp_path / "run.trace")
    assert loaded.program.bytecode == trace.program.bytecode
    assert loaded.frame.equals(trace.frame)
    assert loaded.events[["time", "kind", "page", "count"]].equals(
        trace.events[["time", "kind", "page", "count"]]
    )
    for t in (0, 300, len(trace)):
        assert loaded.state(t).registers.tolist() == trace.state(t).registers.tolist()
        assert np.array_equal(loaded.memory(t, 3), trace.memory(t, 3))


def test_two_ways_of_recording_give_the_same_events(run):
    trace, _ = run
    arena = wb.Arena(8)
    arena.user.store(arena.user_start + 3 * 4096, "u64", 0x1234)
    with wb.Interpreter(wb.assemble(PROGRAM), arena) as engine:
        events = engine.run(bytes(8), trace="events").events
    assert events.equals(trace.events)


def test_a_long_run_is_recorded_up_to_the_capacity():
    program = wb.assemble("r0 = 0\nx: r0 += 1\nif r0 != 5000 goto x\nexit")
    trace = wb.record(program, capacity=1000)
    assert (len(trace), trace.total_steps, trace.complete) == (1000, 10002, False)
    assert trace.state(1000).registers[0] == 500
    assert "1,000 of 10,002 steps" in repr(trace)


@pytest.mark.parametrize("keep", [0, 7, 20, 500])
def test_damaged_files_are_refused(run, tmp_path, keep):
    path = tmp_path / "cut.trace"
    run[0].save(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(TraceError):
        wb.load_trace(path)


def test_missing_file_and_step_are_explained(run, tmp_path):
    with pytest.raises(TraceError, match="No such file"):
        wb.load_trace(tmp_path / "none.trace")
    with pytest.raises(TraceError, match="the trace has 0 to"):
        run[0].state(10**9)


def test_a_recording_full_of_changes_ends_before_its_memory_does():
    program = wb.assemble(
        "r1 = 200000\nr2 = each ll\nr3 = 0\nr4 = 0\ncall bpf_loop\nr0 = 0\nexit\n"
        "each: r0 = 0\nexit\n"
    )
    with wb.Interpreter(program) as engine:
        result = engine.run(trace="steps", capacity=100_000)
    assert result.stop == "exit"
    assert 10_000 < len(result.trace) <= 100_000
    assert not result.trace.complete
