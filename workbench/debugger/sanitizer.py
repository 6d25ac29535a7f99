"""What a run did wrong with arena memory, found in its recording, with no change to the program.

Linux forgives nearly everything a program does in an arena: absent pages read as 0, stores to
them vanish. So the mistakes are silent; here they are reported.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from workbench.arena.rules import PAGE_SIZE, ArenaFlags
from workbench.bpf.isa import Op
from workbench.compiled.raw import LOW_32
from workbench.debugger.pointers import shadow
from workbench.debugger.shadow import ARENA, FIRST, NONE, Shadow
from workbench.recording.columns import ABSENT, IN_ARENA, READ, WRITE
from workbench.recording.trace import Trace

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "step", "pc", "line", "level", "finding", "address", "page", "allocation", "times", "why",
    "advice",
)  # fmt: skip


class Finding(NamedTuple):
    """A kind of finding: "error" is wrong, "warning" is likely wrong, "note" may be meant."""

    level: str
    why: str
    advice: str


FINDINGS = {
    "null pointer": Finding(
        "error",
        "the address comes from NULL: Linux does not stop the access, it reads 0 or loses the "
        "store, or meets page 0 where the arena begins at a multiple of 4 GiB",
        "compare the pointer with 0 before using it; an allocation that fails returns 0",
    ),
    "use after free": Finding(
        "error",
        "the page was freed: reads give 0 and stores are lost",
        "free a page only after the last pointer into it is gone",
    ),
    "stale pointer": Finding(
        "error",
        "the page was freed and given out again: the pointer now reads and changes what belongs "
        "to another allocation",
        "clear every copy of a pointer when its page is freed",
    ),
    "beyond the allocation": Finding(
        "error",
        "the pointer was moved past the pages of the allocation that it came from",
        "check the index against the size, or allocate more pages in one call",
    ),
    "dropped store": Finding(
        "error",
        "nothing is mapped there, so the store is lost without a sign",
        "allocate the page first, or let user space touch it",
    ),
    "not for user space": Finding(
        "error",
        "the pointer is stored in the form that programs use (its upper half is 0): user space "
        "that follows it reads the wrong place",
        "store cast_user(pointer), or make the arena with NO_USER_CONV and add the base yourself",
    ),
    "leak": Finding(
        "warning",
        "the pages are still allocated at the end, and nothing in the arena, the context or the "
        "result points to them",
        "free them, or keep a pointer where it can be found",
    ),
    "absent read": Finding(
        "note",
        "the page was never populated, so this reads 0; that is well if 0 means empty",
        "allocate the page first if it should hold something",
    ),
    "never touched": Finding(
        "note",
        f"the program allocated pages and used none of some of them; each costs {PAGE_SIZE} bytes",
        "allocate fewer pages, or let user space populate them when it needs them",
    ),
    "needless cast": Finding(
        "note",
        "cast_user of a pointer that is in user space's form already changes nothing",
        "leave the cast out",
    ),
}


def sanitize(trace: Trace) -> "pd.DataFrame":
    """Find mistakes with arena memory in a recorded run: a row for each place in the program.

    Columns: step and pc of the first time, line (source text), level ("error", "warning",
    "note"), finding, address, page (-1: none), allocation (what the pointer belongs to), times,
    why it matters and advice. Errors first, then by time. Raises Unsupported without recorded
    steps. Leaks and untouched pages are reported only when the run was recorded to its exit.
    """
    import pandas as pd

    marks = shadow(trace)
    rows = [*_accesses(trace, marks), *_casts(trace, marks), *_allocations(trace, marks)]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    order = {"error": 0, "warning": 1, "note": 2}
    return frame.sort_values(
        ["level", "step"], key=lambda c: c.map(order) if c.name == "level" else c, ignore_index=True
    )


def _accesses(trace: Trace, marks: Shadow) -> Iterator[tuple[object, ...]]:
    """Findings about loads and stores; each access has at most one, the gravest."""
    steps = trace.recorded_steps()
    access = steps["access"]
    inside = (access & IN_ARENA) > 0
    absent, write = (access & ABSENT) > 0, (access & WRITE) > 0
    pointer, owner = marks.pointer, marks.owner
    known = pointer >= FIRST
    home = _at_home(steps["address"], trace, marks)
    tests = {
        "null pointer": marks.null,
        "use after free": absent & (marks.former >= FIRST) & (home | ~known),
        "stale pointer": known & ~absent & (owner != pointer) & home,
        "beyond the allocation": known & (owner != pointer) & ~home,
        "dropped store": absent & write,
        "absent read": absent & ((access & READ) > 0),
    }
    left = inside
    for finding, test in tests.items():
        yield from _rows(trace, marks, finding, left & test, pointer)
        left = left & ~test
    stored = (marks.stored != NONE) & write & ~absent & inside & (steps["new"] != 0)
    bare = stored & (steps["new"] >> np.uint64(32) == 0) & _converts(trace)
    yield from _rows(trace, marks, "not for user space", bare, marks.stored)


def _at_home(address: np.ndarray, trace: Trace, marks: Shadow) -> np.ndarray:
    """Whether each access lies in the pages that its pointer's allocation was given."""
    number = np.clip(marks.pointer - FIRST, 0, None)
    if not len(marks.page) or trace.arena is None:
        return np.zeros(len(address), bool)
    page = _page(address, trace)
    return (page >= marks.page[number]) & (page < marks.page[number] + marks.pages[number])


def _page(address: np.ndarray, trace: Trace) -> np.ndarray:
    assert trace.arena is not None
    return ((address - np.uint64(trace.arena.user_start)) & LOW_32).astype(np.int64) // PAGE_SIZE


def _converts(trace: Trace) -> bool:
    return trace.arena is not None and not trace.arena.flags & ArenaFlags.NO_USER_CONV


def _casts(trace: Trace, marks: Shadow) -> Iterator[tuple[object, ...]]:
    """cast_user of what has user space's form already."""
    steps = trace.recorded_steps()
    user = trace.code["op"][steps["pc"]] == Op.CAST_USER
    yield from _rows(trace, marks, "needless cast", user & marks.needless, marks.pointer)


def _allocations(trace: Trace, marks: Shadow) -> Iterator[tuple[object, ...]]:
    """Pages that nobody used, and pages that nobody can find any more: a row for each call."""
    found: dict[tuple[str, int], list[int]] = {}
    for number, (pc, pages) in enumerate(zip(marks.pc.tolist(), marks.pages.tolist(), strict=True)):
        left = pages - int(marks.freed[number])
        over = trace.complete and trace.stop == "exit"
        lost = over and left and not marks.kept[number]
        unused = int(marks.touched[number]) < pages and (over or not left)
        for finding in ["leak"] * bool(lost) + ["never touched"] * unused:
            found.setdefault((finding, pc), []).append(number)
    for (finding, pc), numbers in found.items():
        first = numbers[0]
        step, page = int(marks.step[first]), int(marks.page[first])
        yield _row(trace, marks, finding, step, pc, page, FIRST + first, len(numbers))


def _rows(
    trace: Trace, marks: Shadow, finding: str, where: np.ndarray, allocation: np.ndarray
) -> Iterator[tuple[object, ...]]:
    """A row for each slot at which a finding happened."""
    steps = trace.recorded_steps()
    at = np.flatnonzero(where)
    slots, first, times = np.unique(steps["pc"][at], return_index=True, return_counts=True)
    for pc, step, count in zip(slots.tolist(), at[first].tolist(), times.tolist(), strict=True):
        page = -1
        if steps["size"][step]:
            page = int(_page(steps["address"][step : step + 1], trace)[0])
        yield _row(trace, marks, finding, step, pc, page, int(allocation[step]), count)


def _row(
    trace: Trace,
    marks: Shadow,
    finding: str,
    step: int,
    pc: int,
    page: int,
    number: int,
    times: int,
) -> tuple[object, ...]:
    kind = FINDINGS[finding]
    line = trace.program.line_of(pc)
    address = int(trace.recorded_steps()["address"][step])
    if not address and page >= 0 and trace.arena is not None:
        address = trace.arena.user_start + page * PAGE_SIZE
    inside = page if trace.arena is not None and page < trace.arena.pages else -1
    return (
        step, pc, line.text.strip() if line else "", kind.level, finding, address, inside,
        _describe(marks, number), times, kind.why, kind.advice,
    )  # fmt: skip


def _describe(marks: Shadow, number: int) -> str:
    """Name an allocation for people."""
    if number == NONE:
        return ""
    if number == ARENA:
        return "the arena"
    at = number - FIRST
    pages = int(marks.pages[at])
    return (
        f"{pages} page{'' if pages == 1 else 's'} from page {marks.page[at]}, "
        f"allocated at step {marks.step[at]} (pc {marks.pc[at]})"
    )
