"""A part of a long recording as a recording of its own: what a browser can hold."""

from dataclasses import replace

import numpy as np

from workbench.arena import Snapshot
from workbench.arena.events import Kind
from workbench.arena.rules import PAGE_SIZE
from workbench.arguments import optional, takes, whole
from workbench.bpf import addresses
from workbench.errors import TraceError
from workbench.recording.columns import ABSENT, IN_ARENA, KEYFRAME, STEP_COLUMNS, WRITE
from workbench.recording.trace import Part, Trace

_EIGHT = np.arange(8)


IN_BROWSER = 1_000_000  # steps that one view holds at a time


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
    cpus = trace.keyframes[0].shape[1] // (11 * addresses.MAX_FRAMES)
    size = len(trace.ctx) // cpus
    raw = trace.program.type_row.raw
    ctx_start = addresses.MEMORY_START if raw else addresses.CTX_START
    stacks = np.zeros((cpus, addresses.STACK_BYTES), np.uint8)
    if trace.stack:
        stacks[:] = np.frombuffer(trace.stack, np.uint8).reshape(cpus, -1)
    contexts = np.frombuffer(trace.ctx, np.uint8).reshape(cpus, size).copy()
    wrote = _with_changes(trace, _writes(trace, until, in_arena=False), until)
    for cpu in range(cpus):
        shift = cpu * addresses.CPU_BYTES
        _replay(wrote, stacks[cpu], addresses.STACK_START + shift)
        _replay(wrote, contexts[cpu], ctx_start + shift)
    return stacks.tobytes(), contexts.tobytes()


def _arena(trace: Trace, until: int) -> Snapshot | None:
    """The pages that are present before a step, with their content."""
    if trace.initial is None or trace.arena is None:
        return trace.initial
    born, content = _bases(trace, until)
    wrote, start = _writes(trace, until, in_arena=True), trace.arena.user_start
    address = trace.recorded_steps()["address"][wrote]
    page = ((address - np.uint64(start)) // np.uint64(PAGE_SIZE)).astype(np.int64)
    order = np.argsort(page, kind="stable")
    wrote, page = wrote[order], page[order]
    for number, bytes_of in content.items():
        # An access that begins in the page before may end in this one.
        near = wrote[np.searchsorted(page, number - 1) : np.searchsorted(page, number + 1)]
        near = np.sort(near[near >= born[number]])
        _replay(_written(trace, near), bytes_of, start + number * PAGE_SIZE)
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


def _writes(trace: Trace, until: int, in_arena: bool) -> np.ndarray:
    """The steps before `until` that changed memory, in the arena or elsewhere."""
    wanted = WRITE | IN_ARENA if in_arena else WRITE
    access = trace.recorded_steps()["access"][:until]
    return np.flatnonzero((access & (WRITE | ABSENT | IN_ARENA)) == wanted)


def _written(trace: Trace, steps: np.ndarray) -> dict[str, np.ndarray]:
    """Address, size and new content of what the steps wrote."""
    columns = trace.recorded_steps()
    return {name: columns[name][steps] for name in ("address", "size", "new")}


def _with_changes(trace: Trace, steps: np.ndarray, until: int) -> dict[str, np.ndarray]:
    """What the steps wrote, and what helpers did before `until`, in order."""
    wrote = _written(trace, steps)
    if trace.changes is None:
        return wrote
    chosen = np.flatnonzero((trace.changes["step"] < until) & (trace.changes["size"] > 0))
    order = np.argsort(np.concatenate([steps, trace.changes["step"][chosen]]), kind="stable")
    return {
        name: np.concatenate([column, trace.changes[name][chosen]])[order]
        for name, column in wrote.items()
    }


def _replay(wrote: dict[str, np.ndarray], content: np.ndarray, start: int) -> None:
    """Put what was written into the bytes that begin at an address; the newest stay."""
    at = (wrote["address"] - np.uint64(start)).astype(np.int64)[:, None] + _EIGHT
    value = np.ascontiguousarray(wrote["new"]).view(np.uint8).reshape(-1, 8)
    kept = (wrote["size"][:, None] > _EIGHT) & (at >= 0) & (at < len(content))
    newest_first, index = np.unique(at[kept][::-1], return_index=True)
    content[newest_first] = value[kept][::-1][index]
