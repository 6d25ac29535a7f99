"""Nanoseconds per BPF instruction: seven small programs on arena memory, engines taking turns.

The interpreter's time is the thread's CPU time for the whole call of `run`. The kernel's is what
it measures itself, inside (`engines.kernel.timing`). Instructions are those that the interpreter
executes; the kernel runs the same bytecode.
"""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import geometric_mean, median, quantiles
from typing import TYPE_CHECKING, NamedTuple

from workbench.arena import Arena
from workbench.bpf.isa import Op
from workbench.engines.interpreter.engine import Interpreter
from workbench.errors import KernelError, Unsupported, WorkbenchError
from workbench.examples import programs
from workbench.experiments.bench import memory

if TYPE_CHECKING:
    from workbench.bpf.program import Program
    from workbench.engines.base import Result

RECORDED = 1_000_000  # steps of a recording: what `run` keeps by default
WARM_UP = 10_000  # steps before the first timed run, to load compiled code; not measured


class Mode(NamedTuple):
    """A way to run; `limit` is the most ns per instruction that the project allows itself."""

    name: str
    limit: float | None


UNTRACED = Mode("untraced", 2.0)
COUNTED = Mode("counters, breakpoints", 2.5)
FRESH = Mode("recording, new memory", None)  # which Linux must clear, page after page
STEPPED = Mode("recording", 5.5)  # into memory that an earlier recording has left
KERNEL = Mode("kernel JIT", None)
MODES = (UNTRACED, COUNTED, STEPPED, FRESH, KERNEL)


class Sample(NamedTuple):
    """One run: `ns` per instruction."""

    round: int
    program: str
    mode: str
    instructions: int
    ns: float


@dataclass(frozen=True)
class Micro:
    """All samples of the micro programs, and why the kernel was not measured ("" if it was)."""

    samples: tuple[Sample, ...]
    kernel: str

    def median(self, program: str, mode: str) -> float | None:
        """The median ns per instruction of one program in one mode; None if never run."""
        found = [s.ns for s in self.samples if (s.program, s.mode) == (program, mode)]
        return median(found) if found else None

    def spread(self, mode: str) -> float | None:
        """The largest half distance of quartiles as a share of the median; None for 1 round."""
        found = []
        for program in self.programs():
            values = [s.ns for s in self.samples if (s.program, s.mode) == (program, mode)]
            if len(values) > 1:
                low, middle, high = quantiles(values, n=4, method="inclusive")
                found.append((high - low) / 2 / middle)
        return max(found, default=None)

    def geomean(self, mode: str) -> float | None:
        """The geometric mean of the programs' medians in one mode; None if never run."""
        found = [self.median(program, mode) for program in self.programs()]
        known = [value for value in found if value]
        return geometric_mean(known) if known else None

    def programs(self) -> list[str]:
        """The programs that ran, in order."""
        return list(dict.fromkeys(sample.program for sample in self.samples))


class _Subject(NamedTuple):
    """A program ready to run in some modes; each gives (instructions, seconds of one run)."""

    name: str
    modes: dict[str, Callable[[], tuple[int, float]]]


def names() -> list[str]:
    """The micro programs of data/programs."""
    return [name for name in programs.names() if programs.example(name).sizes]


def measure(rounds: int, quick: bool, progress: Callable[[], object]) -> Micro:
    """Run every program in every mode, `rounds` times in turns.

    `quick` leaves most of the work of each program out. `progress` is called after each program's
    turn, len(names()) * rounds times in all.
    """
    samples: list[Sample] = []
    with memory.kept(), ExitStack() as stack:
        kernel = ""
        subjects = []
        for name in names():
            subject, reason = _subject(name, quick, stack)
            subjects.append(subject)
            kernel = kernel or reason
        for number in range(rounds):
            for subject in subjects:
                for mode, run in subject.modes.items():
                    instructions, seconds = run()
                    ns = seconds / instructions * 1e9
                    samples.append(Sample(number, subject.name, mode, instructions, ns))
                progress()
    return Micro(tuple(samples), kernel)


def _subject(name: str, quick: bool, stack: ExitStack) -> tuple[_Subject, str]:
    """Prepare a program on both engines; say why not on the kernel."""
    example = programs.example(name)
    assert example.sizes is not None
    size = max(example.sizes.full // 20, 1) if quick else example.sizes.full
    ctx = example.contexts[name].pack(size)
    program = programs.load(name)[name]
    arena = stack.enter_context(Arena(example.pages))
    programs.prepare(name, arena, Interpreter)
    engine = stack.enter_context(Interpreter(program, arena))
    result = engine.run(ctx)
    if not quick and result.r0 != example.sizes.full_r0:
        raise WorkbenchError(f"{name} gave {result.r0:#x}, not {example.sizes.full_r0:#x}")
    modes = _emulated_modes(engine, program, ctx)
    try:
        modes[KERNEL.name] = _kernel_mode(name, program, ctx, result, stack)
    except (KernelError, Unsupported) as error:
        return _Subject(name, modes), str(error)
    return _Subject(name, modes), ""


def _emulated_modes(
    engine: Interpreter, program: "Program", ctx: bytes
) -> dict[str, Callable[[], tuple[int, float]]]:
    """The interpreter's three modes; a breakpoint before the last instruction is hit once."""
    exits = program.instructions["op"] == Op.EXIT
    last = int(exits.nonzero()[0][-1])
    stop = (last,)
    calls: dict[str, Callable[[int | None], Result]] = {
        UNTRACED.name: lambda fuel: engine.run(ctx, fuel),
        COUNTED.name: lambda fuel: engine.run(ctx, fuel, "counts", stop),
        FRESH.name: lambda fuel: engine.run(ctx, fuel or RECORDED, "steps"),
        STEPPED.name: lambda fuel: engine.run(ctx, fuel or RECORDED, "steps"),
    }
    for call in calls.values():
        call(WARM_UP)
    return {name: _timed(call, name == FRESH.name) for name, call in calls.items()}


def _timed(call: "Callable[[int | None], Result]", fresh: bool) -> Callable[[], tuple[int, float]]:
    """A run without limit that returns its steps and the CPU time of all that it takes."""

    def run() -> tuple[int, float]:
        if fresh:
            memory.give_back()
        began = time.thread_time()
        result = call(None)
        return result.steps, time.thread_time() - began

    return run


def _kernel_mode(
    name: str, program: "Program", ctx: bytes, expected: "Result", stack: ExitStack
) -> Callable[[], tuple[int, float]]:
    """The program in the kernel, which must come to the same result, or was stopped early."""
    from workbench.engines.kernel import Kernel, KernelArena, time_engines

    arena = stack.enter_context(KernelArena(programs.example(name).pages))
    programs.prepare(name, arena, Kernel)
    engine = stack.enter_context(Kernel(program, arena))
    found = engine.run(ctx).r0
    if found != expected.r0 & 0xFFFFFFFF:
        raise Unsupported(f"{name}: r0 is {found:#x}, not {expected.r0:#x}; stopped by may_goto?")

    def run() -> tuple[int, float]:
        frame = time_engines({name: engine}, ctx, expected.steps, rounds=1, warmup=1)
        return expected.steps, float(frame["ns"].iloc[0]) * 1e-9

    return run
