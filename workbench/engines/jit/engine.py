"""The JIT engine: programs as machine code, with the interpreter's answers."""

import ctypes
import time
from typing import Any, Self

import numpy as np

from workbench.arena import Arena
from workbench.arena.state import CLOCK, GUARD_PAGES, HOST, START
from workbench.engines import machine as core
from workbench.engines.base import Result
from workbench.engines.interpreter import Interpreter
from workbench.engines.jit.body import fuel_needed
from workbench.engines.jit.cold import address_table, step
from workbench.engines.jit.layout import EXITED, INTERRUPTED, LEFT, SLICE, Word
from workbench.engines.jit.native import Native, compile_program
from workbench.errors import Unsupported, WorkbenchError
from workbench.program import Program

LARGEST = 20_000  # slots; LLVM's time grows faster than the program
_ENDLESS = 1 << 62


class Jit:
    """Runs one program as machine code in the emulated arena, with all its fault semantics.

    Arguments as for `Interpreter`, whose results it gives: r0, context, arena, page events, steps.
    The program is compiled for this processor when the engine is made. Raises Unsupported for
    programs of more than 20,000 slots. Several threads may run engines on one arena,
    as long as one at a time allocates, frees or faults: page tables and events are not locked.
    """

    def __init__(
        self, program: Program, arena: Arena | None = None, verify: bool = True, seed: int = 1
    ) -> None:
        if len(program) > LARGEST:
            raise Unsupported(
                f"the program has {len(program)} slots; the jit takes {LARGEST}, "
                "use the interpreter"
            )
        self._interpreter = Interpreter(program, arena, verify, seed)
        self.program = program
        self.arena = self._interpreter.arena
        self.report = self._interpreter.report
        began = time.perf_counter()
        self._native: Native = compile_program(self._interpreter._machine.code)
        self.compile_seconds = time.perf_counter() - began
        machine, state = self._interpreter._machine, self._interpreter._state
        self._table = address_table(machine, state)
        self._words = _parameters(machine, state, self._table)

    def run(self, ctx: bytes = b"", fuel: int | None = None, trace: str | None = None) -> Result:
        """Run from the start, at most `fuel` steps; `ctx` as for `Interpreter.run`.

        Recording is the interpreter's: any `trace` raises Unsupported. Ctrl-C ends the run with
        stop "interrupt".
        """
        if trace is not None:
            raise Unsupported(f"the jit does not record '{trace}'; use the interpreter")
        if fuel is not None and fuel < 0:
            raise WorkbenchError(f"fuel must not be negative: {fuel}")
        engine = self._interpreter
        engine._start(ctx)
        total = _ENDLESS if fuel is None else fuel
        began = time.perf_counter()
        stop = self._go(total)
        seconds = time.perf_counter() - began
        return Result(
            engine="jit",
            program=self.program.name,
            stop=stop,
            r0=int(engine._machine.regs[core.REGISTERS * engine.depth]),
            steps=int(engine._machine.control[core.STEPS]),
            seconds=seconds,
            ctx=engine._ctx.tobytes(),
            pc=engine.pc,
            reason=engine._reason() if stop == "fault" else "",
        )

    @property
    def llvm_ir(self) -> str:
        """The program as LLVM IR, optimised."""
        return self._native.llvm_ir

    @property
    def native(self) -> str:
        """The program as machine code: assembly text."""
        return self._native.assembly

    def close(self) -> None:
        """Do nothing: memory goes with the last reference. For symmetry with other engines."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _go(self, fuel: int) -> str:
        """Run machine code, and what it leaves to the interpreter; returns why it stopped."""
        control, words = self._interpreter._machine.control, self._words
        if fuel < fuel_needed(len(self.program) + 1):
            return self._finish(fuel)
        engine = self._interpreter
        words[Word.STACK] = engine._stack.ctypes.data
        words[Word.CTX] = engine._ctx.ctypes.data
        words[Word.CTX_START : Word.CTX_SIZE + 1] = engine._machine.regions[1, :2]
        words[Word.CLOCK] = clock = engine._state.meta[CLOCK]
        words[Word.FUEL], words[Word.ISSUED] = fuel, min(fuel, SLICE)
        words[Word.STEPS] = 0
        interrupted = False
        try:
            how = self._native.run(words.ctypes.data)
        except KeyboardInterrupt:
            how, interrupted = INTERRUPTED, True
        steps = int(words[Word.STEPS])
        control[core.STEPS] = steps
        engine._state.meta[CLOCK] = clock + np.uint64(steps)
        if interrupted:
            return "interrupt"
        if how == LEFT:
            return self._finish(fuel - steps)
        if how != EXITED and control[core.STOP] == core.FAULT:
            return "fault"
        if how != EXITED:  # a packet load beyond the packet
            engine._machine.regs[core.REGISTERS * engine.depth] = 0
        return "exit"

    def _finish(self, fuel: int) -> str:
        """Let the interpreter go on: to the last step, and to whatever stops a program."""
        engine = self._interpreter
        before = int(engine._machine.control[core.STEPS])
        result = engine.resume(fuel)
        engine._machine.control[core.STEPS] = before + result.steps
        return result.stop


def _parameters(machine: core.Machine, state: Any, table: np.ndarray) -> np.ndarray:
    """The parameter block of a machine and an arena; what a run changes is still 0."""
    words = np.zeros(Word.WORDS, np.uint64)
    arrays = machine.regs, machine.control, machine.returns, machine.out
    words[Word.REGS : Word.OUT + 1] = [array.ctypes.data for array in arrays]
    words[Word.WINDOW] = state.meta[HOST]
    words[Word.PAGES] = state.pages.ctypes.data + GUARD_PAGES
    words[Word.HIGH] = state.meta[START] & ~np.uint64(0xFFFFFFFF)
    words[Word.STEP], words[Word.TABLE] = step.address, table.ctypes.data
    words[Word.SAVE] = _address("PyEval_SaveThread")
    words[Word.RESTORE] = _address("PyEval_RestoreThread")
    words[Word.SIGNALS] = _address("PyErr_CheckSignals")
    return words


def _address(name: str) -> int:
    """Where a function of Python's C interface lies."""
    return ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value or 0
