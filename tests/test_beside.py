"""Two runs side by side: which step of the other run stands for a step of this one."""

import pytest

import workbench as wb
from workbench.debugger.difference import align
from workbench.errors import WorkbenchError
from workbench.widgets.beside import counterpart

LOOP = """
    r1 = 0
again:
    r1 += 1
    if r1 < 5 goto again
    r0 = r1
    exit
"""


def test_views_move_together_and_know_the_differences() -> None:
    trace = wb.record(wb.assemble(LOOP, name="loop"))
    forked = trace.fork(4, registers={1: 4})  # before `if r1 < 5`: ends the loop early
    box = trace.beside(forked)
    mine, theirs = box.children
    assert [len(trace), len(forked)] == [mine._steps, theirs._steps]
    mine.t = 2
    assert theirs.t == 2
    mine.t = len(trace) - 1
    assert theirs.t == len(forked) - 1
    theirs.t = 1
    assert mine.t == 1
    assert mine.breakpoints
    assert all(str(stop).startswith("step ") for stop in mine.breakpoints)


def test_every_step_has_a_counterpart_at_the_same_instruction() -> None:
    trace = wb.record(wb.assemble(LOOP, name="loop"))
    forked = trace.fork(4, registers={1: 4})
    stretches = align(trace, forked)
    pcs, other = trace.recorded_steps()["pc"], forked.recorded_steps()["pc"]
    for stretch in stretches:
        for step in range(stretch.first, stretch.end):
            to = counterpart(stretches, step)
            assert 0 <= to <= len(forked)
            if stretch.together:
                assert pcs[step] == other[to]


def test_different_programs_are_refused() -> None:
    one, two = (wb.record(wb.assemble(f"r0 = {n}\nexit")) for n in (1, 2))
    with pytest.raises(WorkbenchError, match="different programs"):
        one.beside(two)
