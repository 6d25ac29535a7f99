"""The JIT engine: programs as machine code, with the interpreter's answers."""

import ctypes
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

from workbench.arena import Arena
from workbench.arena.state import CLOCK, GUARD_PAGES, HOST, START
from workbench.arguments import optional, want, whole
from workbench.bpf.program import Program
from workbench.compiled.raw import LOW_32
from workbench.engines.base import Result
from workbench.engines.interpreter.engine import interpret
from workbench.engines.jit import tiers
from workbench.engines.jit.counting import spread
from workbench.engines.jit.layout import (
    EXITED,
    INTERRUPTED,
    LEFT,
    REPLACED,
    SLICE,
    STOPPED,
    STUCK,
    WORDS,
    Word,
)
from workbench.engines.jit.listing import native
from workbench.engines.jit.native import Native, Wanted, compile_program, support
from workbench.engines.jit.tiers import Tiers
from workbench.engines.machine import state as core
from workbench.engines.machine.entries import advance, set_counts, step
from workbench.engines.machine.prepared import Prepared
from workbench.engines.machine.recorded import COUNTED, Recorded
from workbench.errors import Unsupported
from workbench.maps import Map

if TYPE_CHECKING:
    import pandas as pd

_ENDLESS = 1 << 62  # steps: decades; with a slice more it is still an int64


class _End(NamedTuple):
    """Why a run stopped, and after how many seconds."""

    stop: str
    seconds: float


class Jit:
    r"""Runs one program as machine code in the emulated arena, with all its fault semantics.

    Arguments as for `Interpreter`, whose results it gives: r0, context, arena, page events, steps.
    The program is compiled for this processor when the engine is made, or found on disk; how long
    that took is `compile_seconds`. A program that runs for long is compiled again, with more care,
    while it runs (`jit.tiers`). Raises what `Interpreter` does, and Unsupported for programs of
    more than 20,000 slots.
    Several threads may run engines of their own on one arena at the same time; those with a map in
    common take turns, a run each.

        >>> with wb.Jit(wb.assemble("r0 = 6\nr0 *= 7\nexit")) as engine:
        ...     engine.run().r0
        42
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
        began = time.perf_counter()
        prepared = self._prepared
        typed = self.report is not None and not program.type_row.raw  # raw functions share r0-r9
        self._wanted = Wanted(prepared.machine.code.tobytes(), typed, prepared.starts)
        self._tiers = Tiers(self._wanted)
        self.compile_seconds = time.perf_counter() - began
        self._words = _parameters(self._prepared)

    def run(self, ctx: bytes = b"", fuel: int | None = None, trace: str | None = None) -> Result:
        """Run from the start, at most `fuel` steps; `ctx` as for `Interpreter.run`.

        `trace`: None; "faults" (accesses of absent pages); "pages" (reads and writes of each
        page); "blocks" (executions of each instruction); "counts" (both). Machine code that counts
        is compiled when it is first wanted. Ctrl-C ends the run with stop "interrupt". Raises
        Unsupported for "events", "steps" and any other `trace`, and WorkbenchError for negative
        fuel or a packet that is too short or too long.
        """
        if trace is not None and (not isinstance(trace, str) or trace not in COUNTED):
            raise Unsupported(f"the jit does not record '{trace}'; use the interpreter")
        want(fuel, "fuel", optional(whole()))
        with self._prepared.running(ctx):
            return self._run(_ENDLESS if fuel is None else min(fuel, _ENDLESS), trace)

    def _run(self, fuel: int, trace: str | None) -> Result:
        """Go from where the machine was put, and describe what happened."""
        prepared = self._prepared
        recorded = Recorded(prepared, trace, 0)
        stop, seconds = self._go(fuel, recorded)
        reason = prepared.reason() if stop == "fault" else ""
        return Result(
            engine="jit",
            program=self.program.name,
            stop=stop,
            r0=int(prepared.registers[0]),
            steps=prepared.steps,
            seconds=seconds,
            ctx=prepared.output,
            packet=prepared.packet,
            printed=prepared.texts,
            pc=prepared.pc,
            reason=reason,
            trace=recorded.trace(stop, reason, prepared.steps),
        )

    @property
    def printed(self) -> "pd.DataFrame":
        """What the last run printed, a row for each line: step, pc, stream, text."""
        return self._prepared.printed

    def improve(self) -> None:
        """Make the best machine code now, as benchmarks want; else long runs are what earns it."""
        self._tiers.improve()

    @property
    def llvm_ir(self) -> str:
        """The program as LLVM IR, optimised."""
        return self._tiers.good().llvm_ir

    @property
    def native(self) -> "pd.DataFrame":
        """Machine code beside the kernel's: pc, bpf, address, code (hexadecimal), native, kernel.

        A row for each machine instruction, "" where one side has no more. Raises Unsupported
        without capstone.
        """
        pages = self.arena.page_count if self.arena else None
        return native(self.program, self._tiers.good().with_lines(), pages)

    @property
    def machine_code(self) -> bytes:
        """The program as machine code, addresses not yet filled in."""
        return self._tiers.good().code

    def close(self) -> None:
        """Do nothing: memory goes with the last reference. For symmetry with other engines."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _go(self, fuel: int, recorded: Recorded) -> _End:
        """Run machine code, and leave what it cannot do to the interpreter."""
        counts = COUNTED.get(recorded.kind or "", frozenset())
        code = self._tiers.current
        if counts:
            code = compile_program(self._wanted._replace(counts=counts))
        how, seconds = self._execute(code, fuel, recorded)
        if how == REPLACED:
            code = self._tiers.going_on(self._prepared.pc)
            how, more = self._execute(code, fuel - self._prepared.steps, recorded)
            seconds += more
        self._tiers.count(self._prepared.steps)
        if "blocks" in counts:
            self._count(how, recorded)
        if how in (LEFT, STUCK):
            return self._finish(fuel - self._prepared.steps, recorded, seconds)
        return _End(self._stop(how), seconds)

    def _execute(self, code: Native, fuel: int, recorded: Recorded) -> tuple[int, float]:
        """Run machine code; returns how it ended, and after how many seconds."""
        self._set(fuel, recorded.counts, code.wanted.quick)
        block = self._words.ctypes.data
        began = time.perf_counter()
        try:
            how = code.run(block)
        except KeyboardInterrupt:
            how = INTERRUPTED
        seconds = time.perf_counter() - began
        self._account(how)
        return how, seconds

    def _set(self, fuel: int, counts: core.Counts | None, quick: bool) -> None:
        """Fill in the words that a run changes."""
        words = self._words
        words[Word.CLOCK] = self._prepared.state.meta[CLOCK]
        words[Word.FUEL], words[Word.SLICE] = fuel, tiers.PATIENCE if quick else SLICE
        words[Word.HANDS_OVER] = quick
        words[Word.BUDGET] = core.MAY_GOTO_LIMIT
        words[Word.READ_ROOM] = words[Word.WRITE_ROOM] = 0
        set_counts(self._prepared.table, counts)
        if counts is not None:
            words[Word.EXECUTED : Word.WRITES + 1] = [array.ctypes.data for array in counts]

    def _account(self, how: int) -> None:
        """Put steps, clock and place where the interpreter has them."""
        words, control = self._words, self._prepared.machine.control
        steps = int(words[Word.ISSUED]) - int(words[Word.LEFT])
        control[core.STEPS] += steps
        self._prepared.state.meta[CLOCK] = words[Word.CLOCK] + np.uint64(steps)
        control[core.DEPTH] = 0 if how == EXITED else words[Word.DEPTH]
        if how != STOPPED:
            control[core.PC] = words[Word.PC]

    def _count(self, how: int, recorded: Recorded) -> None:
        """Spread the counts of blocks, of which a run that stops inside one has done a part."""
        assert recorded.counts is not None
        pc = int(self._words[Word.PC])
        place = {STOPPED: (pc, pc + 1), STUCK: (pc, pc)}
        code, starts = self._prepared.machine.code, self._prepared.starts
        spread(recorded.counts.executed, code, starts, place.get(how))

    def _stop(self, how: int) -> str:
        """The name of how machine code ended."""
        machine = self._prepared.machine
        if how == STOPPED and machine.control[core.STOP] == core.FAULT:
            return "fault"
        frame = core.FRAME_REGISTERS * self._prepared.depth
        if how == STOPPED and machine.out[core.O_WROTE]:  # a packet load beyond the packet
            machine.regs[frame] = 0
        elif how == STOPPED:  # bpf_throw, whose r1 is the result
            machine.regs[0] = machine.regs[frame + 1]
            machine.control[core.DEPTH] = 0
        return "interrupt" if how == INTERRUPTED else "exit"

    def _finish(self, fuel: int, recorded: Recorded, seconds: float) -> _End:
        """Let the interpreter go on: to the last step, and to whatever stops a program."""
        set_counts(self._prepared.table, None)  # the interpreter's loop counts by itself
        began = time.perf_counter()
        stop = interpret(self._prepared, fuel, recorded, False)
        return _End(stop, seconds + time.perf_counter() - began)


def _parameters(prepared: Prepared) -> np.ndarray:
    """The parameter block of a machine and an arena; the program's stack is in it."""
    machine, state = prepared.machine, prepared.state
    words = np.zeros(WORDS, np.uint64)
    prepared.stack = words[Word.STACK :].view(np.uint8)
    arrays = machine.regs, machine.returns, machine.out, machine.regions
    words[Word.REGS : Word.REGIONS + 1] = [array.ctypes.data for array in arrays]
    words[Word.REGION_COUNT] = len(machine.regions)
    words[Word.WINDOW] = state.meta[HOST]
    words[Word.PAGES] = state.pages.ctypes.data + GUARD_PAGES
    words[Word.HIGH] = state.meta[START] & ~LOW_32
    words[Word.STEP], words[Word.TABLE] = step.address, prepared.table.ctypes.data
    words[Word.CONTROL], words[Word.LOOPS] = machine.control.ctypes.data, machine.loops.ctypes.data
    if core.CALL in prepared.entries:
        words[Word.ADVANCE] = advance.address
    words[Word.UNCOMMON : Word.STORE8 + 1] = support()[0]
    words[Word.SAVE] = _address("PyEval_SaveThread")
    words[Word.RESTORE] = _address("PyEval_RestoreThread")
    words[Word.SIGNALS] = _address("PyErr_CheckSignals")
    return words


def _address(name: str) -> int:
    """Where a function of Python's C interface lies."""
    return ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value or 0
