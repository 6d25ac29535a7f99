"""Two runs in one view, and what a reader changes to get the second."""

import pytest

import workbench as wb
from workbench.errors import TraceError, WorkbenchError
from workbench.recording.format import unpack
from workbench.widgets import what_if

LOOP = """
    r1 = 0
again:
    r1 += 1
    if r1 < 5 goto again
    r0 = r1
    exit
"""


def loop() -> wb.Trace:
    return wb.record(wb.assemble(LOOP, name="loop"))


def test_a_change_shows_the_other_run_and_its_differences() -> None:
    trace = loop()
    view = trace.stepper()
    view.what_if = "4: r1 = 9"  # before `if r1 < 5`: ends the loop early
    assert view.forked is not None
    assert unpack(view.other)[1]["pc"].tolist() == view.forked.recorded_steps()["pc"].tolist()
    assert "r0 = 0x9" in view.answer
    assert len(view.forked) < len(trace)
    mine, theirs = view.aligned["differs"]
    assert mine
    assert theirs
    view.what_if = ""
    assert (view.other, view.aligned, view.forked) == (b"", {}, None)


def test_stretches_cover_both_runs_with_the_same_instructions() -> None:
    trace = loop()
    forked = trace.fork(4, registers={1: 4})
    pcs, other = trace.recorded_steps()["pc"], forked.recorded_steps()["pc"]
    stretches = trace.beside(forked).aligned["stretches"]
    assert [s[1] - s[0] for s in stretches if s[4]] == [s[3] - s[2] for s in stretches if s[4]]
    assert sum(s[1] - s[0] for s in stretches) == len(trace)
    assert sum(s[3] - s[2] for s in stretches) == len(forked)
    for first, end, at, other_end, together in stretches:
        if together:
            assert pcs[first:end].tolist() == other[at:other_end].tolist()


def test_memory_is_changed_by_its_user_address() -> None:
    text = "r6 = arena + 0x0 ll\nr6 = cast_kern(r6)\nr0 = *(u32 *)(r6 + 4)\nexit"
    arena = wb.Arena(4)
    arena.user.store(arena.user_start, "u64", 1)
    trace = wb.record(wb.assemble(text), arena)
    other = what_if.forked(trace, f"2: {arena.user_start + 4:#x}:4 = -2")
    assert int(other.state(len(other)).registers[0]) == 0xFFFFFFFE


@pytest.mark.parametrize("step", range(12))
def test_a_changed_register_is_seen_from_its_step_on(step: int) -> None:
    forked = loop().fork(step, registers={7: 0xABCD})
    seen = [int(forked.state(at).registers[7]) for at in range(len(forked) + 1)]
    assert seen == [0] * step + [0xABCD] * (len(forked) + 1 - step)


@pytest.mark.parametrize("step", range(5))
def test_changed_bytes_are_seen_from_their_step_on(step: int) -> None:
    text = "r6 = arena + 0 ll\nr6 = cast_kern(r6)\n*(u16 *)(r6 + 14) = 7\nr0 = 0\nexit"
    arena = wb.Arena(4)
    arena.user.store(arena.user_start, "u64", 1)
    trace = wb.record(wb.assemble(text), arena)
    start = arena.user_start + 3
    forked = trace.fork(step, memory={start: bytes(range(1, 19))})
    writes = sorted([(step - 0.5, 3, bytes(range(1, 19))), (2, 14, b"\7\0")])
    for at in range(len(forked) + 1):
        expected = bytearray((1).to_bytes(32, "little"))
        for when, first, content in writes:
            if when < at:
                expected[first : first + len(content)] = content
        shown = forked.memory(at, 0)
        assert shown is not None
        assert shown[:32].tobytes() == bytes(expected), at


@pytest.mark.parametrize(
    "text", ["r1 = 4", "4: r1 == 4", "4: r11 = 4", "4: 0x10:9 = 4", "99: r1 = 4"]
)
def test_what_is_no_change_says_so(text: str) -> None:
    with pytest.raises(TraceError):
        what_if.forked(loop(), text)
    view = loop().stepper()
    view.what_if = text
    assert view.answer
    assert view.other == b""


def test_different_programs_are_refused() -> None:
    one, two = (wb.record(wb.assemble(f"r0 = {n}\nexit")) for n in (1, 2))
    with pytest.raises(WorkbenchError, match="different programs"):
        one.beside(two)
