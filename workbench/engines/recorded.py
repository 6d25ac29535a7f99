"""What one run of an in-process engine records: the buffers, and the trace made of them."""

from dataclasses import replace

import numpy as np

from workbench.arena.state import CLOCK
from workbench.engines import machine as core
from workbench.engines.prepared import Prepared
from workbench.events import Ring, ring
from workbench.trace import Trace

ACCESS_EVENTS = 1 << 20


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
        self.steps = core.new_recording(capacity) if trace == "steps" else None
        self.capacity = capacity
        arena = prepared.arena
        self.initial = arena.snapshot() if arena and trace == "steps" else None
        self.ctx = prepared.ctx.tobytes()
        self.clock = int(prepared.state.meta[CLOCK])
        self.logged = int(prepared.state.log.written[0])
        journal = prepared.machine.journal
        journal[0] = 0
        prepared.machine.control[core.JOURNAL] = journal.ctypes.data if self.steps else 0

    def room(self) -> int:
        """How many steps can still be recorded, each with as many changes as one can make."""
        if self.steps is None:
            return 0
        full = int(self.steps.length[2]) + core.JOURNAL_ROOM > len(self.steps.change_step)
        return 0 if full else self.capacity - int(self.steps.length[0])

    def trace(self, stop: str, reason: str, steps: int) -> Trace | None:
        """Everything recorded, as a value; None if nothing was to be."""
        if self.kind is None:
            return None
        prepared = self.prepared
        trace = Trace.of_run(
            prepared.program,
            prepared.machine.code[:-1],
            arena=prepared.arena,
            initial=self.initial,
            ctx=self.ctx,
            clock=self.clock,
            logged=self.logged,
            counts=self.counts,
            accesses=self.accesses,
            steps=self.steps,
            changes=None if self.steps is None else changes(prepared.machine, self.steps),
            stop=stop,
            reason=reason,
            total_steps=steps,
            report=prepared.report,
        )
        if self.kind == "blocks":
            return replace(trace, page_counts=None)
        return replace(trace, counted=None) if self.kind == "pages" else trace


def changes(machine: core.Machine, steps: core.Recording) -> dict[str, np.ndarray]:
    """What helpers changed, as the columns of `workbench.trace.CHANGES`.

    Memory has the address at which the program sees it; a register its number in all frames, 11
    each, and size 0.
    """
    rows = int(steps.length[2])
    host, size = steps.change_host[:rows], steps.change_size[:rows].copy()
    address = np.zeros(rows, np.uint64)
    for start, length, at, _ in machine.regions:
        inside = host - at < length
        address[inside] = host[inside] - at + start
    register = host - np.uint64(machine.regs.ctypes.data)
    inside = register < machine.regs.nbytes
    frame, number = np.divmod(register[inside] // np.uint64(8), np.uint64(core.REGISTERS))
    address[inside], size[inside] = frame * np.uint64(11) + number, 0
    found = {"step": steps.change_step, "old": steps.change_old, "new": steps.change_new}
    return {name: column[:rows] for name, column in found.items()} | {
        "address": address,
        "size": size,
    }
