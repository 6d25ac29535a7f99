"""A part of a long recording as a recording of its own: what a browser can hold."""

from dataclasses import replace

import numpy as np

from workbench.arena import Snapshot
from workbench.arena.events import Kind
from workbench.arena.rules import PAGE_SIZE
from workbench.arguments import optional, takes, whole
from workbench.bpf import addresses
from workbench.errors import TraceError
from workbench.recording.columns import KEYFRAME, STEP_COLUMNS
from workbench.recording.memory import put
from workbench.recording.trace import Part, Trace

IN_BROWSER = 1_000_000  # steps that one view holds: 44 MB, open in 1.1 s (docs/decisions)


@takes(first=whole(), count=optional(whole(1)))
def window(trace: Trace, first: int, count: int | None = None) -> Trace:
    """The `count` steps from `first` on (rounded down to a keyframe), memory as it was then.

    `count` is 1,000,000 unless given, as many as a browser holds. The steps of the part are
    numbered from 0; `part` says where it lies. Raises TraceError for a step that was not recorded.
    """
    if not 0 <= first < len(trace):
        raise TraceError(f"no step {first} to begin with; the trace has {len(trace)}")
    first -= first % KEYFRAME
    last = min(first + (IN_BROWSER if count is None else count), len(trace))
    keys = slice(first // KEYFRAME, -(-last // KEYFRAME))
    steps, log = trace.recorded_steps(), trace.page_events
    began = trace.clock + first
    inside = (log["time"] > began) & (log["time"] <= trace.clock + last)
    stacks, contexts = _own_memory(trace, first)
    return replace(
        trace,
        recorded={name: steps[name][first:last] for name in STEP_COLUMNS},
        changes=_changes(trace, first, last),
        keyframes=(trace.keyframes[0][keys], trace.keyframes[1][keys]),
        page_events={name: column[inside] for name, column in log.items()},
        initial=_arena(trace, first),
        clock=began,
        ctx=contexts,
        stack=stacks,
        counted=None,
        accesses=None,
        part=Part(trace.part.first + first, trace.part.of)
        if trace.part
        else Part(first, len(trace)),
    )


def _changes(trace: Trace, first: int, last: int) -> dict[str, np.ndarray] | None:
    """What helpers changed during the steps [first, last), numbered from 0."""
    if trace.changes is None:
        return None
    step = trace.changes["step"]
    rows = slice(*np.searchsorted(step, (first, last)))
    kept = {name: column[rows] for name, column in trace.changes.items()}
    return kept | {"step": kept["step"] - np.uint32(first)}


def _own_memory(trace: Trace, until: int) -> tuple[bytes, bytes]:
    """The stacks and the contexts of all CPUs before a step."""
    stacks, contexts = trace.own_memory()
    wrote = trace.own_writes.only(trace.own_writes.step < until)
    for cpu, (stack, context) in enumerate(zip(stacks, contexts, strict=True)):
        put(wrote, stack, addresses.STACK_START + cpu * addresses.CPU_BYTES)
        put(wrote, context, trace.ctx_start + cpu * addresses.CPU_BYTES)
    return stacks.tobytes(), contexts.tobytes()


def _arena(trace: Trace, until: int) -> Snapshot | None:
    """The pages that are present before a step, with their content."""
    if trace.initial is None or trace.arena is None:
        return trace.initial
    born, content = _bases(trace, until)
    wrote, start = trace.arena_writes.only(trace.arena_writes.step < until), trace.arena.user_start
    page = ((wrote.address - np.uint64(start)) // np.uint64(PAGE_SIZE)).astype(np.int64)
    rows = np.argsort(page, kind="stable")
    page = page[rows]
    for number, held in content.items():
        # A write that begins in the page before may end in this one.
        near = rows[np.searchsorted(page, number - 1) : np.searchsorted(page, number + 1)]
        near = np.sort(near[wrote.step[near] >= born[number]])
        put(wrote.only(near), held, start + number * PAGE_SIZE)
    numbers = sorted(content)
    pages = np.array(numbers, np.uint32)
    return Snapshot(pages, np.array([content[n] for n in numbers], np.uint8).reshape(-1, PAGE_SIZE))


def _bases(trace: Trace, until: int) -> tuple[dict[int, int], dict[int, np.ndarray]]:
    """For each page present before a step: since when, and what it held then."""
    assert trace.initial is not None
    pairs = zip(trace.initial.pages.tolist(), trace.initial.bytes, strict=True)
    content = {page: held.copy() for page, held in pairs}
    born = dict.fromkeys(content, 0)
    for step, kind, first, count in trace.page_changes():
        for page in range(first, first + count) if step < until else ():
            content.pop(page, None)
            if kind != Kind.FREE:
                born[page], content[page] = step, np.zeros(PAGE_SIZE, np.uint8)
    return born, content
