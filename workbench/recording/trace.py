"""What one run left behind: steps, counts and events as values, forward and back in time.

Step columns (all of one length; row n is step n, counted from 0):
pc, depth (frame before the step), reg (register written, 255 none), value (what it got),
size and access (memory touched: bit 0 read, 1 write, 2 absent, 3 atomic, 4 arena), address,
old and new (memory before and after a write). Every 256 steps a keyframe keeps all registers.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from workbench.arena import Snapshot, events
from workbench.arena.events import Actor, Kind
from workbench.arena.rules import PAGE_SIZE
from workbench.arguments import want, whole
from workbench.bpf import addresses
from workbench.bpf.addresses import MAX_FRAMES, frame_pointer
from workbench.bpf.disassembler import listing
from workbench.bpf.isa import REGISTERS, Op
from workbench.bpf.program import Program
from workbench.compiled.raw import LOW_32
from workbench.errors import TraceError, Unsupported
from workbench.recording.columns import (
    ATOMIC,
    CPU_REGISTERS,
    IN_ARENA,
    KEYFRAME,
    NO_REGISTER,
    SPARSE,
    STEP_COLUMNS,
    WRITE,
)
from workbench.recording.memory import Writes, put, writes
from workbench.recording.notebook import Notebook

if TYPE_CHECKING:
    import pandas as pd

    from workbench.verifier.report import Report

_CALLS = (Op.CALL_LOCAL, Op.CALLX)
_POPULATES = (Kind.ALLOC, Kind.USER_FAULT)


class ArenaFacts(NamedTuple):
    """What a trace remembers of the arena it ran on."""

    user_start: int
    user_end: int
    pages: int
    flags: int


class State(NamedTuple):
    """Where a run was before a step: slot, frame, and r0..r10 of that frame (uint64[11])."""

    pc: int
    depth: int
    registers: np.ndarray


class Part(NamedTuple):
    """Which steps of a longer recording: `first` is the number of step 0, `of` counts all."""

    first: int
    of: int


NO_KEYFRAMES = (np.zeros((0, CPU_REGISTERS), np.uint64), np.zeros(0, np.uint8))


@dataclass(frozen=True, eq=False)
class Trace(Notebook):
    """The record of one run; see the module for the columns.

    recorded: step columns or None, where address, old and new may have rows only for the steps
    that touch memory; `steps` has a row for each. changes: what helpers changed, see
    columns.CHANGES, or None. accesses: event columns or None. page_events: columns of the arena's
    log. counted: executions of each slot, or None. clock: the arena's
    clock before the run. stop, reason: how it ended. stack: content of the stacks before the
    first step, b"" for zeros. part: where in a longer recording this one lies (`window`).
    report: the verifier's, None where the program ran without it. lost: how many of its oldest
    events were not kept.

    >>> trace = wb.record(wb.assemble("r0 = 20\\nr0 += 22\\nexit", name="sum"))
    >>> trace
    <Trace sum: 3 steps, exit>
    >>> [int(trace.state(step).registers[0]) for step in (1, 2)]
    [20, 42]
    """

    program: Program
    code: np.ndarray = field(repr=False)
    arena: ArenaFacts | None
    ctx: bytes
    clock: int
    stop: str
    reason: str = ""
    initial: Snapshot | None = field(default=None, repr=False)
    recorded: dict[str, np.ndarray] | None = field(default=None, repr=False)
    changes: dict[str, np.ndarray] | None = field(default=None, repr=False)
    keyframes: tuple[np.ndarray, np.ndarray] = field(default=NO_KEYFRAMES, repr=False)
    accesses: dict[str, np.ndarray] | None = field(default=None, repr=False)
    page_events: dict[str, np.ndarray] = field(default_factory=dict, repr=False)
    counted: np.ndarray | None = field(default=None, repr=False)
    page_counts: "pd.DataFrame | None" = field(default=None, repr=False)
    total_steps: int = 0
    stack: bytes = field(default=b"", repr=False)
    part: Part | None = None
    report: "Report | None" = field(default=None, repr=False)
    lost: int = 0

    def __len__(self) -> int:
        """How many steps were recorded."""
        return 0 if self.recorded is None else len(self.recorded["pc"])

    @cached_property
    def steps(self) -> dict[str, np.ndarray] | None:
        """The step columns, a row for each step; None when no steps were recorded."""
        return None if self.recorded is None else _dense(self.recorded)

    @property
    def cpus(self) -> np.ndarray:
        """The CPU of each step: 0, unless several programs ran (workbench.debugger.cpus)."""
        return self.recorded_steps()["depth"] // MAX_FRAMES

    @property
    def cpu_count(self) -> int:
        """How many CPUs the recording has registers, stacks and contexts of."""
        return int(self.keyframes[0].shape[1]) // CPU_REGISTERS

    @property
    def ctx_start(self) -> int:
        """Where the context of CPU 0 begins, CPU_BYTES below that of CPU 1."""
        raw = self.program.type_row.raw
        return addresses.MEMORY_START if raw else addresses.CTX_START

    def own_memory(self) -> tuple[np.ndarray, np.ndarray]:
        """Stacks and contexts before the first step: uint8[CPUs, STACK_BYTES], uint8[CPUs, n]."""
        stacks = np.zeros((self.cpu_count, addresses.STACK_BYTES), np.uint8)
        if self.stack:
            stacks[:] = np.frombuffer(self.stack, np.uint8).reshape(stacks.shape)
        return stacks, np.frombuffer(self.ctx, np.uint8).reshape(len(stacks), -1).copy()

    @property
    def complete(self) -> bool:
        """Whether every step of the run was recorded."""
        return len(self) == self.total_steps

    @cached_property
    def counts(self) -> np.ndarray:
        """How often each slot was executed: uint64[slots].

        Raises Unsupported where neither counts nor steps were recorded.
        """
        if self.counted is not None:
            return self.counted
        if self.steps is None:
            raise Unsupported("nothing was counted; run with trace='counts' or trace='steps'")
        return np.bincount(self.steps["pc"], minlength=len(self.code)).astype(np.uint64)

    @cached_property
    def events(self) -> "pd.DataFrame":
        """Page events, and the accesses and casts that were recorded, in order of time.

        The columns are those of workbench.arena.events.
        Of each the newest 2**20 are kept; `attrs["lost"]` says how many were before them.
        """
        parts = [self.page_events]
        if self.accesses is not None:
            parts.append(self.accesses)
        elif self.steps is not None:
            parts.append(self._step_events())
        joined = {name: np.concatenate([part[name] for part in parts]) for name in events.COLUMNS}
        if len(parts) > 1:
            order = np.argsort(joined["time"], kind="stable")
            joined = {name: column[order] for name, column in joined.items()}
        return events.frame(joined, lost=self.lost)

    @property
    def frame(self) -> "pd.DataFrame":
        """The recorded steps as a DataFrame with each instruction's text; columns not copied.

        Raises Unsupported without recorded steps.
        """
        import pandas as pd

        steps = self.recorded_steps()
        texts = [f"{pc}: {text}" for pc, text in enumerate(listing(self.program))]
        table: dict[str, Any] = {"pc": steps["pc"]}
        table["text"] = pd.Categorical.from_codes(steps["pc"].astype(np.int32), texts)
        table |= {name: steps[name] for name in STEP_COLUMNS if name != "pc"}
        return pd.DataFrame(table, index=pd.RangeIndex(len(self), name="step"), copy=False)

    def state(self, step: int) -> State:
        """Where the run was before a step, or after the last one (len(trace)).

        Raises TraceError for a step outside the recording, Unsupported without recorded steps.
        """
        steps, frames = self.recorded_steps(), self.registers(step)
        if step < len(self):
            pc, depth = int(steps["pc"][step]), int(steps["depth"][step])
        else:  # the last instruction has no successor to name
            pc, depth = int(steps["pc"][-1]), int(self.following[-1])
        return State(pc, depth, frames[depth])

    def registers(self, step: int) -> np.ndarray:
        """r0 to r10 of every frame before a step: uint64[frames, 11]; 8 frames for each CPU.

        Raises TraceError for a step outside 0 to len(trace).
        """
        want(step, "step", whole())
        if not 0 <= step <= len(self):
            raise TraceError(f"no step {step}; the trace has 0 to {len(self)}")
        key = min(step, len(self) - 1) // KEYFRAME
        frames = self.keyframes[0][key].reshape(-1, REGISTERS).copy()
        for at in range(key * KEYFRAME, step):
            self._replay(frames, at)
        return frames

    def memory(self, step: int, page: int) -> np.ndarray | None:
        """An arena page before a step: uint8[4096], or None while it is absent.

        Raises Unsupported without recorded steps.
        """
        want(step, "step", whole())
        want(page, "page", whole())
        if self.arena is None:
            return None
        born, content = self._base_page(step, page)
        if content is None:
            return None
        start, wrote = self.arena.user_start + page * PAGE_SIZE, self.arena_writes
        near = (wrote.address + np.uint64(8) > start) & (wrote.address < start + PAGE_SIZE)
        put(wrote.only(near & (wrote.step >= born) & (wrote.step < step)), content, start)
        return content

    @cached_property
    def arena_writes(self) -> Writes:
        """What the program wrote in the arena; with it, all that helpers wrote anywhere."""
        return writes(self.recorded_steps(), self.changes, in_arena=True)

    @cached_property
    def own_writes(self) -> Writes:
        """What the program wrote outside the arena; with it, all that helpers wrote anywhere."""
        return writes(self.recorded_steps(), self.changes, in_arena=False)

    def __repr__(self) -> str:
        kept = "" if self.complete or self.recorded is None else f" of {self.total_steps:,}"
        lost = f", its {self.lost:,} oldest events lost" if self.lost else ""
        return f"<Trace {self.program.name}: {len(self):,}{kept} steps, {self.stop}{lost}>"

    def recorded_steps(self) -> dict[str, np.ndarray]:
        """The step columns; raises Unsupported when there are none."""
        if self.steps is None or not len(self):
            raise Unsupported("no steps were recorded; run with trace='steps'")
        return self.steps

    @cached_property
    def following(self) -> np.ndarray:
        """The frame of each step's successor on the same CPU; the last one's own."""
        depth = self.recorded_steps()["depth"]
        order = np.argsort(self.cpus, kind="stable")
        following = depth.copy()
        cpu = self.cpus[order]
        same = cpu[1:] == cpu[:-1]
        following[order[:-1][same]] = depth[order[1:][same]]
        return following

    def _replay(self, frames: np.ndarray, step: int) -> None:
        """Apply a step to the registers."""
        steps = self.recorded_steps()
        depth, following = int(steps["depth"][step]), int(self.following[step])
        reg, op = steps["reg"][step], self.code[int(steps["pc"][step])]["op"]
        if reg != NO_REGISTER:
            frames[depth, reg] = steps["value"][step]
        if op in _CALLS and following > depth:
            frames[following, :10] = frames[depth, :10]
            cpu, inner = divmod(following, MAX_FRAMES)
            frames[following, 10] = frame_pointer(inner, cpu)
        elif op == Op.EXIT and following < depth:
            frames[following, :6] = frames[depth, :6]
        for register, value in self._set_registers.get(step, ()):
            frames.reshape(-1)[register] = value

    @cached_property
    def _set_registers(self) -> dict[int, list[tuple[int, int]]]:
        """Registers that helpers set, by step: of callbacks, and of who called the helper."""
        found: dict[int, list[tuple[int, int]]] = {}
        if self.changes is None:
            return found
        for row in np.nonzero(self.changes["size"] == 0)[0]:
            pair = int(self.changes["address"][row]), int(self.changes["new"][row])
            found.setdefault(int(self.changes["step"][row]), []).append(pair)
        return found

    def _base_page(self, until: int, page: int) -> tuple[int, np.ndarray | None]:
        """The step since which a page's content is only what was written, and what it was then."""
        born, content = 0, None
        if self.initial is not None and page in self.initial.pages:
            content = self.initial.bytes[np.searchsorted(self.initial.pages, page)].copy()
        for step, kind, first, count in self.page_changes():
            if step < until and first <= page < first + count:
                born, content = step, None if kind == Kind.FREE else np.zeros(PAGE_SIZE, np.uint8)
        return born, content

    def page_changes(self) -> Iterator[tuple[int, int, int, int]]:
        """Allocations, faults and frees of this run: (step, kind, first page, pages)."""
        log = self.page_events
        rows = np.flatnonzero(np.isin(log["kind"], (*_POPULATES, Kind.FREE)))
        columns = self.event_steps, log["kind"], log["page"], log["count"]
        yield from zip(*(column[rows].tolist() for column in columns), strict=True)

    @cached_property
    def event_steps(self) -> np.ndarray:
        """The step during which each row of `page_events` happened: int64[rows]."""
        return np.maximum(self.page_events["time"].astype(np.int64) - self.clock - 1, 0)

    def _step_events(self) -> dict[str, np.ndarray]:
        """Accesses and casts among the recorded steps, as event columns."""
        steps = self.recorded_steps()
        op = self.code["op"][steps["pc"]]
        cast = (op == Op.CAST_KERN) | (op == Op.CAST_USER)
        at = np.nonzero((steps["size"] > 0) | cast)[0]
        access = steps["access"][at]
        kind = np.where(access & WRITE, Kind.STORE, Kind.LOAD)
        kind = np.where((access & (WRITE | ATOMIC)) == WRITE | ATOMIC, Kind.ATOMIC, kind)
        kind = np.where(op[at] == Op.CAST_KERN, Kind.CAST_KERN, kind)
        kind = np.where(op[at] == Op.CAST_USER, Kind.CAST_USER, kind)
        address = np.where(cast[at], steps["value"][at], steps["address"][at])
        return {
            "time": np.uint64(self.clock + 1) + at.astype(np.uint64),
            "kind": kind.astype(np.uint8),
            "actor": np.full(len(at), Actor.PROGRAM, np.uint8),
            "pc": steps["pc"][at].astype(np.int32),
            "page": self._pages_of(address, cast[at] | ((access & IN_ARENA) > 0)),
            "address": address,
            "count": steps["size"][at].astype(np.uint32),
        }

    def _pages_of(self, address: np.ndarray, in_arena: np.ndarray) -> np.ndarray:
        if self.arena is None:
            return np.full(len(address), -1, np.int32)
        offset = (address - np.uint64(self.arena.user_start)) & LOW_32
        page = (offset // np.uint64(PAGE_SIZE)).astype(np.int32)
        limit = (self.arena.user_end - self.arena.user_start) // PAGE_SIZE
        return np.where(in_arena & (page < limit), page, -1).astype(np.int32)


def _dense(recorded: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Give the columns of memory accesses a row for each step, 0 where no memory was touched."""
    length = len(recorded["pc"])
    touched = recorded["size"] > 0
    columns = dict(recorded)
    for name in SPARSE:
        if len(recorded[name]) != length:
            columns[name] = np.zeros(length, np.uint64)
            columns[name][touched] = recorded[name]
    return columns
