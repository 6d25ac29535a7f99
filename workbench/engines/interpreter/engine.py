"""The interpreter engine: runs, steps, counts and records programs on the emulated arena."""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Self

import numpy as np

from workbench.arena import Arena
from workbench.arguments import optional, slots, want, whole
from workbench.bpf.program import Program
from workbench.engines.base import Result
from workbench.engines.interpreter.loop import execute
from workbench.engines.machine import state as core
from workbench.engines.machine.prepared import Prepared
from workbench.engines.machine.recorded import CAPACITY, COUNTED, Recorded
from workbench.errors import WorkbenchError
from workbench.maps import Map

if TYPE_CHECKING:
    import pandas as pd

TRACES = (None, *COUNTED, "events", "steps")
MOST_STEPS = int(np.iinfo(np.uint32).max)  # that are recorded: columns number them in 4 bytes
_SLICE = 20_000_000  # steps between looks at Ctrl-C: some 40 ms, which nobody notices
_ENDLESS = 1 << 62  # steps: decades
_STOPS = {core.EXIT: "exit", core.FUEL: "fuel", core.BREAKPOINT: "breakpoint", core.FAULT: "fault"}


class Interpreter:
    r"""Runs one program in the emulated arena; every memory access is checked as it happens.

    The program is verified first, and refused with VerificationError; with `verify=False` any
    program runs on the run-time checks alone. `arena` defaults to a fresh one of 1024 pages if
    the program names an arena. `seed` starts bpf_get_prandom_u32. `maps` are the program's maps
    by name; missing ones are made as it declares them, and all are in the attribute `maps`, which
    other engines can be given to share them. Raises Unsupported for what the machine lacks: a
    function that is not emulated, a map or an arena of the kernel. Use it as a context manager.

        >>> with wb.Interpreter(wb.assemble("r0 = 6\nr0 *= 7\nexit")) as engine:
        ...     result = engine.run()
        >>> result.stop, result.r0, result.steps
        ('exit', 42, 3)
    """

    def __init__(
        self,
        program: Program,
        arena: Arena | None = None,
        verify: bool = True,
        seed: int = 1,
        maps: Mapping[str, Map] | None = None,
    ) -> None:
        self._prepared = Prepared(program, arena, verify, seed, maps)
        self.program = program
        self.arena = self._prepared.arena
        self.maps = self._prepared.maps
        self.report = self._prepared.report

    def run(
        self,
        ctx: bytes = b"",
        fuel: int | None = None,
        trace: str | None = None,
        breakpoints: tuple[int, ...] = (),
        capacity: int = CAPACITY,
    ) -> Result:
        """Run from the start, at most `fuel` steps; arguments after `trace` are for debugging.

        ctx: the context of a syscall program, the memory of a raw one, the packet of a
        socket_filter, tc or xdp one, copied. trace: None, "counts" (per instruction and page;
        "blocks" and "pages" are one half each), "faults" (accesses of absent pages), "events"
        (accesses and casts, the newest 2**20) or "steps" (a reversible recording of the first
        `capacity` steps). breakpoints: slots to stop before. Ctrl-C ends the run with stop
        "interrupt" and everything kept. Raises WorkbenchError for an unknown `trace`, negative
        fuel, a breakpoint outside the program, or a packet that is too short or too long.
        """
        if trace not in TRACES:
            raise WorkbenchError(f"unknown trace '{trace}'; choose from counts, events, steps")
        with self._prepared.running(ctx):
            return self._go(fuel, trace, breakpoints, capacity)

    def resume(
        self,
        fuel: int | None = None,
        trace: str | None = None,
        breakpoints: tuple[int, ...] = (),
        capacity: int = CAPACITY,
    ) -> Result:
        """Go on from where the last run stopped, with fresh buffers; arguments as for `run`.

        Raises WorkbenchError when nothing has been run, for negative fuel and for a breakpoint
        outside the program.
        """
        if not self._prepared.started:
            raise WorkbenchError("nothing to resume; call run first")
        with self._prepared.running():
            return self._go(fuel, trace, breakpoints, capacity)

    def step(self, count: int = 1, ctx: bytes = b"") -> Result:
        """Execute `count` instructions; the first call starts the program with `ctx`."""
        return self.resume(fuel=count) if self._prepared.started else self.run(ctx, fuel=count)

    @property
    def pc(self) -> int:
        """Slot of the next instruction."""
        return self._prepared.pc

    @property
    def depth(self) -> int:
        """Number of callers of the current function: 0 in the main program."""
        return self._prepared.depth

    @property
    def registers(self) -> np.ndarray:
        """r0 to r10 of the current function: a copy, uint64[11]."""
        return self._prepared.registers

    @property
    def printed(self) -> "pd.DataFrame":
        """What the last run printed, a row for each line: step, pc, stream, text."""
        return self._prepared.printed

    def close(self) -> None:
        """Do nothing: memory goes with the last reference. For symmetry with other engines."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _go(
        self, fuel: int | None, trace: str | None, breakpoints: tuple[int, ...], capacity: int
    ) -> Result:
        """Run, and describe what happened."""
        want(fuel, "fuel", optional(whole()))
        want(capacity, "capacity", whole(0, MOST_STEPS))
        want(breakpoints, "breakpoints", slots)
        prepared = self._prepared
        _set_breakpoints(prepared, breakpoints)
        before = prepared.steps
        recorded = Recorded(prepared, trace, capacity)
        began = time.perf_counter()
        stop = interpret(prepared, fuel, recorded, bool(breakpoints))
        seconds = time.perf_counter() - began
        steps = prepared.steps - before
        reason = prepared.reason() if stop == "fault" else ""
        return Result(
            engine="interpreter",
            program=self.program.name,
            stop=stop,
            r0=int(prepared.registers[0]),
            steps=steps,
            seconds=seconds,
            ctx=prepared.output,
            packet=prepared.packet,
            printed=prepared.texts,
            pc=prepared.pc,
            reason=reason,
            trace=recorded.trace(stop, reason, steps),
        )


def interpret(prepared: Prepared, fuel: int | None, recorded: Recorded, breaks: bool) -> str:
    """Go on from where the machine stands, in slices, so that Ctrl-C is heard; says why it stopped.

    `breaks` asks to stop before instructions that have a breakpoint.
    """
    left = fuel if fuel is not None else _ENDLESS
    try:
        while True:
            room = recorded.room()
            limit = min(left, _SLICE, room or _SLICE)
            before = prepared.steps
            status = execute(
                prepared.machine,
                prepared.state,
                limit,
                recorded.counts,
                recorded.accesses,
                recorded.steps if room else None,
                1 if breaks else None,
            )
            left -= prepared.steps - before
            if status != core.FUEL or left <= 0:
                return _STOPS[status]
    except KeyboardInterrupt:
        return "interrupt"


def _set_breakpoints(prepared: Prepared, breakpoints: tuple[int, ...]) -> None:
    code, slots = prepared.machine.code, len(prepared.program)
    code["breakpoint"] = 0
    for pc in breakpoints:
        if not 0 <= pc < slots:
            raise WorkbenchError(f"no instruction {pc}; the program has 0 to {slots - 1}")
        code["breakpoint"][pc] = 1
