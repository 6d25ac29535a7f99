"""What one run of an in-process engine records: the buffers, and the trace made of them."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from workbench.arena import Arena
from workbench.arena.events import COLUMNS, Ring, columns, lost, ring
from workbench.arena.rules import PAGE_SIZE
from workbench.arena.state import CLOCK, GUARD_PAGES
from workbench.bpf.isa import REGISTERS
from workbench.engines.machine import state as core
from workbench.engines.machine.prepared import Prepared
from workbench.errors import WorkbenchError
from workbench.maps.layout import NOTED
from workbench.recording.columns import KEYFRAME, SPARSE, STEP_COLUMNS
from workbench.recording.trace import NO_KEYFRAMES, ArenaFacts, Trace

if TYPE_CHECKING:
    import pandas as pd

CAPACITY = 1_000_000  # steps of a recording that asks for no other number: at most 40 MB
ACCESS_EVENTS = 1 << 20  # the newest are kept: bounds the memory of a trace; not measured
_NO_EVENTS = {name: np.zeros(0, dtype) for name, dtype in COLUMNS.items()}

COUNTED = {
    "faults": frozenset[str](),
    "blocks": frozenset({"blocks"}),
    "pages": frozenset({"pages"}),
    "counts": frozenset({"blocks", "pages"}),
}
"""What is counted: executions of instructions ("blocks"), accesses of arena pages ("pages")."""


class Recorded:
    """The buffers for a `trace`, filled by one run.

    None records nothing, "faults" what the arena's log has anyway, the others of COUNTED counts,
    "events" accesses and casts, "steps" everything.
    """

    def __init__(self, prepared: Prepared, trace: str | None, capacity: int) -> None:
        self.prepared, self.kind = prepared, trace
        counted = COUNTED.get(trace or "")
        self.counts = core.new_counts(len(prepared.program)) if counted else None
        self.accesses: Ring | None = ring(ACCESS_EVENTS) if trace == "events" else None
        self.steps = _room(capacity) if trace == "steps" else None
        self.capacity = capacity
        arena = prepared.arena
        self.initial = arena.snapshot() if arena and trace == "steps" else None
        self.ctx = prepared.ctx.tobytes()
        self.clock = int(prepared.state.meta[CLOCK])
        self.logged = int(prepared.state.log.written[0])
        journal = prepared.machine.journal
        journal[NOTED] = 0
        prepared.machine.control[core.JOURNAL] = journal.ctypes.data if self.steps else 0

    def room(self) -> int:
        """How many steps can still be recorded, each with as many changes as one can make."""
        if self.steps is None:
            return 0
        length = self.steps.length
        rest = len(self.steps.change_step) - int(length[core.CHANGES_KEPT])
        return self.capacity - int(length[core.STEPS_KEPT]) if rest >= core.JOURNAL_ROOM else 0

    def trace(self, stop: str, reason: str, steps: int) -> Trace | None:
        """Everything recorded, as a value; None if nothing was to be."""
        if self.kind is None:
            return None
        prepared = self.prepared
        arena, counts, log = prepared.arena, self.counts, prepared.state.log
        pages = _page_counts(counts, arena) if counts is not None and arena is not None else None
        code = prepared.machine.code[:-1].copy()
        trace = Trace(
            program=prepared.program,
            code=code,
            arena=_facts(arena),
            ctx=self.ctx,
            clock=self.clock,
            stop=stop,
            reason=reason,
            initial=self.initial,
            recorded=_filled(self.steps),
            changes=None if self.steps is None else changes(prepared.machine, self.steps),
            keyframes=_keyframes(self.steps),
            accesses=None if self.accesses is None else columns(self.accesses),
            page_events=columns(log, self.logged) if arena else _NO_EVENTS,
            counted=None if counts is None else counts.executed[: len(code)],
            page_counts=pages,
            total_steps=steps,
            lost=lost(log, self.logged) + (lost(self.accesses) if self.accesses else 0),
            report=prepared.report,
        )
        if self.kind == "blocks":
            return replace(trace, page_counts=None)
        return replace(trace, counted=None) if self.kind == "pages" else trace


def _room(capacity: int) -> core.Recording:
    try:
        return core.new_recording(capacity)
    except (MemoryError, ValueError):
        raise WorkbenchError(f"no memory to record {capacity:,} steps; ask for fewer") from None


def changes(machine: core.Machine, steps: core.Recording) -> dict[str, np.ndarray]:
    """What helpers changed, as the columns of `workbench.recording.columns.CHANGES`.

    Memory has the address at which the program sees it; a register its number in all frames, 11
    each, and size 0.
    """
    rows = int(steps.length[core.CHANGES_KEPT])
    host, size = steps.change_host[:rows], steps.change_size[:rows].copy()
    address = np.zeros(rows, np.uint64)
    for start, length, at, _ in machine.regions:
        inside = host - at < length
        address[inside] = host[inside] - at + start
    register = host - np.uint64(machine.regs.ctypes.data)
    inside = register < machine.regs.nbytes
    frame, number = np.divmod(register[inside] // np.uint64(8), np.uint64(core.FRAME_REGISTERS))
    address[inside], size[inside] = frame * np.uint64(REGISTERS) + number, 0
    found = {"step": steps.change_step, "old": steps.change_old, "new": steps.change_new}
    return {name: column[:rows] for name, column in found.items()} | {
        "address": address,
        "size": size,
    }


def _facts(arena: Arena | None) -> ArenaFacts | None:
    if arena is None:
        return None
    return ArenaFacts(arena.user_start, arena.user_end, arena.page_count, int(arena.flags))


def _filled(recording: core.Recording | None) -> dict[str, np.ndarray] | None:
    """The columns of a Recording, without the room that was not used."""
    if recording is None:
        return None
    kept = {True: recording.length[core.ACCESSES_KEPT], False: recording.length[core.STEPS_KEPT]}
    return {name: getattr(recording, name)[: kept[name in SPARSE]] for name in STEP_COLUMNS}


def _keyframes(recording: core.Recording | None) -> tuple[np.ndarray, np.ndarray]:
    if recording is None:
        return NO_KEYFRAMES
    keys = -(-int(recording.length[core.STEPS_KEPT]) // KEYFRAME)
    return recording.key_regs[:keys], recording.key_depth[:keys]


def _page_counts(counts: core.Counts, arena: Arena) -> "pd.DataFrame":
    """A row for each touched page: page (relative to the arena's start), reads, writes."""
    import pandas as pd

    first = (arena.user_start % (1 << 32)) // PAGE_SIZE + GUARD_PAGES
    reads, writes = (
        column[first : first + arena.page_count] for column in (counts.reads, counts.writes)
    )
    page = np.nonzero(reads + writes)[0]
    return pd.DataFrame({"page": page, "reads": reads[page], "writes": writes[page]})
