"""A part of a long recording against the whole: the same registers and the same memory."""

import numpy as np
import pytest

import workbench as wb
from workbench.debugger.cpus import Random, record_cpus
from workbench.errors import TraceError
from workbench.examples import programs
from workbench.recording.trace import Trace


def recorded(name: str) -> Trace:
    with wb.Arena(pages=programs.example(name).pages) as arena:
        return wb.record(next(iter(programs.load(name).values())), arena)


@pytest.fixture(scope="module", params=["hash", "list", "allocator"])
def whole(request: pytest.FixtureRequest) -> Trace:
    return recorded(request.param)


def check(whole: Trace, part: Trace, first: int) -> None:
    """Registers and every page at some steps of the part are those of the whole."""
    assert whole.arena is not None
    for t in [*range(0, len(part), 97), len(part) - 1]:
        assert (part.registers(t) == whole.registers(first + t)).all()
    for t in (0, 1, len(part) // 2, len(part) - 1):
        for page in range(whole.arena.pages):
            mine, theirs = part.memory(t, page), whole.memory(first + t, page)
            assert (mine is None) == (theirs is None), f"page {page} before step {t}"
            assert mine is None or (mine == theirs).all(), f"page {page} before step {t}"


@pytest.mark.parametrize("asked", [0, 300, 777, 1100])
def test_a_window_holds_what_the_whole_does(whole: Trace, asked: int) -> None:
    part = whole.window(asked, 500)
    assert part.part is not None
    assert part.part == (asked // 256 * 256, len(whole))
    assert len(part) == min(500, len(whole) - part.part.first)
    assert not part.complete
    check(whole, part, part.part.first)


def test_a_window_of_a_window() -> None:
    whole = recorded("hash")
    part = whole.window(512, 2000).window(600, 300)
    assert part.part == (512 + 512, len(whole))
    check(whole, part, 1024)


def test_stacks_and_contexts_are_those_of_the_moment() -> None:
    source = """
        r6 = r1
        r7 = 0
    again:
        *(u64 *)(r10 - 16) = r7
        *(u32 *)(r10 - 12) = r7
        *(u64 *)(r6 + 8) = r7
        r7 += 1
        if r7 < 200 goto again
        r0 = *(u64 *)(r10 - 16)
        exit
    """
    trace = wb.record(wb.assemble(source, name="spill"), ctx=bytes(16))
    part = trace.window(600, 400)
    expected = int(trace.registers(512)[0, 7]) - 1
    assert np.frombuffer(part.stack, "<u4")[-4:-2].tolist() == [expected] * 2
    assert np.frombuffer(part.ctx, "<u8")[1] == expected


def test_a_change_by_hand_in_the_arena_is_there_too() -> None:
    source = """
        r1 = arena ll
        r2 = 0
        r3 = 1
        r4 = -1
        r5 = 0
        call bpf_arena_alloc_pages
        r6 = cast_kern(r0)
        *(u64 *)(r6 + 8) = 42
        r1 = 0
    again:
        r1 += 1
        if r1 != 600 goto again
        r0 = *(u64 *)(r6 + 16)
        exit
    """
    whole = wb.record(wb.assemble(source), wb.Arena(8))
    assert whole.arena is not None
    forked = whole.fork(50, memory={whole.arena.user_start + 12: bytes(range(1, 9))})
    part = forked.window(512)
    check(forked, part, 512)
    held = part.memory(0, 0)
    assert held is not None
    assert held[8:24].tolist() == [42, 0, 0, 0, *range(1, 9), 0, 0, 0, 0]


def test_several_cpus() -> None:
    loaded = [next(iter(programs.load("list").values()))] * 2
    with wb.Arena(pages=64) as arena:
        whole = record_cpus(loaded, arena, Random(3))
    check(whole, whole.window(1024, 900), 1024)


def test_the_browser_gets_a_million_steps_and_may_ask_for_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from workbench.recording.format import unpack
    from workbench.widgets import enriched

    monkeypatch.setattr(enriched, "IN_BROWSER", 1000)
    whole = recorded("hash")
    stepper = whole.stepper()
    assert (stepper.first, stepper._steps) == (0, 1000)
    stepper.t = 999
    stepper.first = 2048
    meta, columns = unpack(stepper.data)
    assert (stepper.t, meta["part"]) == (0, {"first": 2048, "of": len(whole)})
    assert columns["pc"].tolist() == whole.recorded_steps()["pc"][2048:3048].tolist()


def test_a_window_must_begin_in_the_recording() -> None:
    trace = wb.record(wb.assemble("r0 = 0\nexit"))
    with pytest.raises(TraceError, match="no step 2 to begin with; the trace has 2"):
        trace.window(2)
