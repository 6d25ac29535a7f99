"""The interpreter engine: runs, steps, counts and records programs on the emulated arena."""

import time
from typing import Self

import numpy as np

from workbench import addresses, isa
from workbench.arena import Arena, ArenaFlags
from workbench.arena.rules import PAGE_SIZE
from workbench.arena.state import CLOCK
from workbench.disassembler import instruction_text
from workbench.engines import machine as core
from workbench.engines.base import Result
from workbench.engines.loop import execute
from workbench.errors import Unsupported, WorkbenchError
from workbench.events import Ring, ring
from workbench.functions import HELPERS, KFUNCS
from workbench.isa import Op
from workbench.program import Program
from workbench.trace import Trace
from workbench.verifier import verify

TRACES = (None, "counts", "events", "steps")
_SLICE = 20_000_000  # steps between looks at Ctrl-C: some 40 ms
_STOPS = {core.EXIT: "exit", core.FUEL: "fuel", core.BREAKPOINT: "breakpoint", core.FAULT: "fault"}
_ACCESS_EVENTS = 1 << 20


class Interpreter:
    """Runs one program in the emulated arena; every memory access is checked as it happens.

    The program is verified first, and refused with VerificationError; with `verify=False` any
    program runs on the run-time checks alone. `arena` defaults to a fresh one of 1024 pages if
    the program names an arena. `seed` starts bpf_get_prandom_u32. Use it as a context manager.
    """

    def __init__(
        self, program: Program, arena: Arena | None = None, verify: bool = True, seed: int = 1
    ) -> None:
        if arena is None and program.uses_arena:
            arena = Arena()
        if arena is not None and not isinstance(arena, Arena):
            raise Unsupported(
                "the interpreter runs on a workbench.Arena, not on a real one; use workbench.Kernel"
            )
        self.program = program
        self.arena = arena
        self.seed = seed
        self.report = _verified(program, arena) if verify else None
        records = self.report.xlated if self.report else program.instructions
        self._state = core.no_arena() if arena is None else arena.state
        self._machine = _machine(_loadable(program, records, arena))
        self._ctx = np.zeros(0, np.uint8)
        self._started = False

    def run(
        self,
        ctx: bytes = b"",
        fuel: int | None = None,
        trace: str | None = None,
        breakpoints: tuple[int, ...] = (),
        capacity: int = 1_000_000,
    ) -> Result:
        """Run from the start, at most `fuel` steps; arguments after `trace` are for debugging.

        ctx: the context of a syscall program, the memory of a raw one, copied. trace: None,
        "counts" (per instruction and page), "events" (accesses and casts, the newest 2**20) or
        "steps" (a reversible recording of the first `capacity` steps). breakpoints: slots to
        stop before. Ctrl-C ends the run with stop "interrupt" and everything kept.
        """
        if trace not in TRACES:
            raise WorkbenchError(f"unknown trace '{trace}'; choose from counts, events, steps")
        self._start(ctx)
        return self._go(fuel, trace, breakpoints, capacity)

    def resume(
        self,
        fuel: int | None = None,
        trace: str | None = None,
        breakpoints: tuple[int, ...] = (),
        capacity: int = 1_000_000,
    ) -> Result:
        """Go on from where the last run stopped; arguments as for `run`."""
        if not self._started:
            raise WorkbenchError("nothing to resume; call run first")
        return self._go(fuel, trace, breakpoints, capacity)

    def step(self, count: int = 1, ctx: bytes = b"") -> Result:
        """Execute `count` instructions; the first call starts the program with `ctx`."""
        return self.resume(fuel=count) if self._started else self.run(ctx, fuel=count)

    @property
    def pc(self) -> int:
        """Slot of the next instruction."""
        return int(self._machine.control[core.PC])

    @property
    def depth(self) -> int:
        """Number of callers of the current function: 0 in the main program."""
        return int(self._machine.control[core.DEPTH])

    @property
    def registers(self) -> np.ndarray:
        """r0 to r10 of the current function: a copy, uint64[11]."""
        first = self.depth * core.REGISTERS
        return self._machine.regs[first : first + 11].copy()

    def close(self) -> None:
        """Do nothing: memory goes with the last reference. For symmetry with other engines."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _start(self, ctx: bytes) -> None:
        """Put the machine at the first instruction with fresh registers, stack and context."""
        machine = self._machine
        self._ctx = np.frombuffer(bytearray(ctx), np.uint8) if ctx else np.zeros(0, np.uint8)
        self._stack = np.zeros(addresses.STACK_BYTES, np.uint8)
        start = addresses.MEMORY_START if self.program.type == "raw" else addresses.CTX_START
        machine.regions[0] = (
            addresses.STACK_START,
            addresses.STACK_BYTES,
            self._stack.ctypes.data,
            1,
        )
        machine.regions[1] = start, len(ctx), self._ctx.ctypes.data, 1
        machine.regs[:] = 0
        machine.regs[1] = start if ctx else 0
        machine.regs[10] = addresses.STACK_START + addresses.STACK_BYTES
        if self.program.type == "raw":
            machine.regs[2] = len(ctx)
        machine.control[:] = 0
        machine.control[core.SEED] = self.seed
        machine.control[core.UNTYPED] = self.report is None or self.program.type == "raw"
        machine.regs[core.BUDGET] = core.MAY_GOTO_LIMIT
        self._started = True

    def _go(
        self, fuel: int | None, trace: str | None, breakpoints: tuple[int, ...], capacity: int
    ) -> Result:
        """Run in slices, so that Ctrl-C is heard, and describe what happened."""
        if fuel is not None and fuel < 0:
            raise WorkbenchError(f"fuel must not be negative: {fuel}")
        self._set_breakpoints(breakpoints)
        before = int(self._machine.control[core.STEPS])
        recorded = _Recorded(self, trace, capacity)
        began = time.perf_counter()
        stop = self._slices(fuel, recorded, 1 if breakpoints else None)
        seconds = time.perf_counter() - began
        control = self._machine.control
        steps = int(control[core.STEPS]) - before
        reason = self._reason() if stop == "fault" else ""
        return Result(
            engine="interpreter",
            program=self.program.name,
            stop=stop,
            r0=int(self._machine.regs[core.REGISTERS * self.depth]),
            steps=steps,
            seconds=seconds,
            ctx=self._ctx.tobytes(),
            pc=self.pc,
            reason=reason,
            trace=recorded.trace(stop, reason, steps),
        )

    def _slices(self, fuel: int | None, recorded: "_Recorded", breaks: int | None) -> str:
        left = fuel if fuel is not None else 1 << 62
        try:
            while True:
                room = recorded.room()
                limit = min(left, _SLICE, room or _SLICE)
                steps_before = int(self._machine.control[core.STEPS])
                counts, accesses, steps = recorded.counts, recorded.accesses, recorded.steps
                status = execute(
                    self._machine,
                    self._state,
                    limit,
                    counts,
                    accesses,
                    steps if room else None,
                    breaks,
                )
                left -= int(self._machine.control[core.STEPS]) - steps_before
                if status != core.FUEL or left <= 0:
                    return _STOPS[status]
        except KeyboardInterrupt:
            return "interrupt"

    def _set_breakpoints(self, breakpoints: tuple[int, ...]) -> None:
        code = self._machine.code
        code["mark"] = 0
        for pc in breakpoints:
            if not 0 <= pc < len(self.program):
                raise WorkbenchError(
                    f"no instruction {pc}; the program has 0 to {len(self.program) - 1}"
                )
            code["mark"][pc] = 1

    def _reason(self) -> str:
        """Say what the program did that stopped it."""
        code, reason = self._machine.code, int(self._machine.control[core.REASON])
        address = int(self._machine.out[core.O_ADDRESS])
        memory = "memory" if self.program.type == "raw" else "context"
        text = (
            instruction_text(code[self.pc], self.pc) if self.pc < len(self.program) else "the end"
        )
        return (
            f"instruction {self.pc} ({text}): "
            + {
                core.OUT_OF_BOUNDS: f"{address:#x} is in no memory of the program"
                f" (its {memory} has {len(self._ctx)} bytes)",
                core.READ_ONLY: f"{address:#x} must not be written",
                core.NOT_CODE: "not an instruction; a jump or call left the program",
                core.TOO_DEEP: f"more than {addresses.MAX_FRAMES} nested calls",
                core.UNKNOWN_CALL: f"function {address} does not exist here",
            }[reason]
        )


class _Recorded:
    """The buffers of one run, and the trace made of them."""

    def __init__(self, engine: Interpreter, trace: str | None, capacity: int) -> None:
        self.engine, self.kind = engine, trace
        self.counts = core.new_counts(len(engine.program)) if trace == "counts" else None
        self.accesses: Ring | None = ring(_ACCESS_EVENTS) if trace == "events" else None
        self.steps = core.new_recording(capacity) if trace == "steps" else None
        self.capacity = capacity
        self.initial = engine.arena.snapshot() if engine.arena and trace == "steps" else None
        self.ctx = engine._ctx.tobytes()
        self.clock = int(engine._state.meta[CLOCK])
        self.logged = int(engine._state.log.written[0])

    def room(self) -> int:
        """How many steps can still be recorded."""
        return 0 if self.steps is None else self.capacity - int(self.steps.length[0])

    def trace(self, stop: str, reason: str, steps: int) -> Trace | None:
        """Everything recorded, as a value."""
        if self.kind is None:
            return None
        engine = self.engine
        return Trace.of_run(
            engine.program,
            engine._machine.code[:-1],
            arena=engine.arena,
            initial=self.initial,
            ctx=self.ctx,
            clock=self.clock,
            logged=self.logged,
            counts=self.counts,
            accesses=self.accesses,
            steps=self.steps,
            stop=stop,
            reason=reason,
            total_steps=steps,
        )


def _verified(program: Program, arena: Arena | None):  # type: ignore[no-untyped-def]
    pages = (arena.user_end - arena.user_start) // PAGE_SIZE if arena else None
    report = verify(program, int(arena.flags) if arena else 0, pages)
    report.raise_if_refused()
    return report


def _loadable(program: Program, records: np.ndarray, arena: Arena | None) -> np.ndarray:
    """Resolve references, and add a final INVALID that every stray jump is led to."""
    code = np.zeros(len(records) + 1, isa.INSTRUCTION)
    code[:-1] = records
    code[-1]["op"] = Op.INVALID
    casts = program.instructions["op"] == Op.CAST_KERN  # xlated says mov32, which is the same
    code["op"][:-1][casts] = Op.CAST_KERN
    for reference in program.references:
        code[reference.pc] = _resolved(code[reference.pc], reference.kind, reference.name, arena)
    for record in code:
        if record["op"] in (Op.LD_MAP_IDX, Op.LD_MAP_FD) and arena is not None:
            record["op"], record["imm"] = (
                Op.LD_IMM64,
                np.uint64(addresses.MAP_HANDLE).astype(np.int64),
            )
        if record["op"] == Op.CAST_USER and arena and arena.flags & ArenaFlags.NO_USER_CONV:
            record["op"] = Op.MOV32  # what a verified program has there already
        if record["op"] == Op.LD_IMM64:
            record["src"] = isa.ZERO  # it is executed as regs[src] + imm, like a move
        if record["op"] == Op.CALL_HELPER and int(record["imm"]) not in HELPERS:
            raise Unsupported(f"helper {int(record['imm'])} is not available on the interpreter")
    _contain_jumps(code)
    return code


def _resolved(record: np.void, kind: str, name: str, arena: Arena | None) -> np.void:
    """One instruction with its reference replaced by what the emulated machine uses."""
    record = record.copy()
    if kind == "kfunc":
        if name not in KFUNCS:
            raise Unsupported(
                f"kfunc '{name}' is not available on the interpreter; it has {', '.join(KFUNCS)}"
            )
        record["imm"] = KFUNCS[name].number
    elif kind == "arena" and arena is not None:
        offset = int(record["imm"]) >> 32 if record["op"] == Op.LD_MAP_VALUE else None
        value = addresses.MAP_HANDLE if offset is None else arena.user_start + offset
        record["op"], record["imm"] = Op.LD_IMM64, np.uint64(value).astype(np.int64)
    else:
        raise Unsupported(f"map '{name}' is not available on the interpreter")
    return record


_LEADS = np.array([op in {row.op for row in isa.TABLE if "{target}" in row.syntax} for op in Op])


def _contain_jumps(code: np.ndarray) -> None:
    """Lead every jump that would leave the program to the final INVALID."""
    end = len(code) - 1
    slots = np.arange(len(code))
    targets = slots + 1 + code["off"]
    stray = _LEADS[code["op"]] & ((targets < 0) | (targets > end))
    code["off"][stray] = end - slots[stray] - 1


def _machine(code: np.ndarray) -> core.Machine:
    return core.Machine(
        code=code,
        regs=np.zeros(addresses.MAX_FRAMES * core.REGISTERS, np.uint64),
        control=np.zeros(8, np.int64),
        returns=np.zeros(addresses.MAX_FRAMES, np.int64),
        regions=np.zeros((2, 4), np.uint64),
        out=np.zeros(8, np.uint64),
    )
