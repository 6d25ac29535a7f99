"""Interpreter, jit and kernel next to each other: eleven programs, each in turn on every engine.

Seven micro programs and four data structures, all in arena memory. Times are those inside the
engine; the kernel measures its own (`engines.kernel.timing`).
Instructions are those that the interpreter counts; the kernel runs the same bytecode.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import geometric_mean, median
from typing import TYPE_CHECKING, Any, NamedTuple

from workbench.arena import Arena
from workbench.engines.interpreter.engine import Interpreter
from workbench.engines.jit import Jit
from workbench.errors import KernelError, Unsupported, WorkbenchError
from workbench.examples import programs

if TYPE_CHECKING:
    from workbench.bpf.program import Program
    from workbench.engines.base import Engine

ENGINES = ("interpreter", "jit", "kernel")
LIMIT = 1.0  # the most that the jit may take, as a share of the kernel's time
TEXT = b"it was the best of times, it was the worst of times, it was the age of wisdom, "


class Case(NamedTuple):
    """A program, its context, its arena's size, and what fills a fresh arena for it."""

    name: str
    program: "Program"
    ctx: bytes
    pages: int
    setup: Callable[[Any, Any], object]


class Time(NamedTuple):
    """One run: `ns` per instruction."""

    round: int
    program: str
    engine: str
    instructions: int
    ns: float


@dataclass(frozen=True)
class Times:
    """All runs, and why the kernel was not measured ("" if it was)."""

    samples: tuple[Time, ...]
    kernel: str

    def programs(self) -> list[str]:
        """The programs that ran, in order."""
        return list(dict.fromkeys(sample.program for sample in self.samples))

    def median(self, program: str, engine: str) -> float | None:
        """The median ns per instruction; None if never run."""
        found = [s.ns for s in self.samples if (s.program, s.engine) == (program, engine)]
        return median(found) if found else None

    def ratio(self, program: str, engine: str, other: str) -> float | None:
        """The median, over the rounds, of one engine's time as a share of the other's."""
        by_round = {(s.round, s.engine): s.ns for s in self.samples if s.program == program}
        pairs = [
            by_round[number, engine] / by_round[number, other]
            for number, name in by_round
            if name == engine and (number, other) in by_round
        ]
        return median(pairs) if pairs else None

    def geomean(self, engine: str, other: str) -> float | None:
        """The geometric mean of the programs' ratios."""
        found = [self.ratio(program, engine, other) for program in self.programs()]
        known = [value for value in found if value]
        return geometric_mean(known) if known else None


def cases(quick: bool) -> Iterator[Case]:
    """The eleven programs; `quick` leaves most of the work of each out."""
    for name in programs.names():
        example = programs.example(name)
        if example.sizes is not None:
            size = max(example.sizes.full // 20, 1) if quick else example.sizes.full
            ctx = example.contexts[name].pack(size)
            yield Case(name, programs.load(name)[name], ctx, example.pages, _prepared(name))
    yield from (_list(), _hash(), _search(), _tree())


def _prepared(name: str) -> Callable[[Any, Any], object]:
    return lambda arena, make: programs.prepare(name, arena, make)


def _list() -> Case:
    """Follow 8,000 nodes and add their values up."""
    loaded, count = programs.load("list"), (8000).to_bytes(16, "little")
    return Case(
        "list", loaded["walk"], bytes(16), 64,
        lambda arena, make: _run(loaded["build"], arena, make, count),
    )  # fmt: skip


def _hash() -> Case:
    """Find 4,000 keys of a hash table and set their values anew."""
    fill, count = programs.load("hash")["fill"], (4000).to_bytes(16, "little")
    return Case("hash", fill, count, 128, lambda arena, make: _run(fill, arena, make, count))


def _search() -> Case:
    """Look for a word everywhere in 4 KiB of text."""
    found = _object("search")
    found.globals["text"] = (TEXT * 52)[:4095]
    return Case(
        "string search", found.programs["search"], b"", 16, lambda arena, _: found.fill(arena)
    )


def _tree() -> Case:
    """Look for 2,000 scattered keys in a red-black tree, whose search is a function."""
    found = _object("tree")
    grow, ctx = found.programs["grow"], (2000).to_bytes(8, "little") + (1).to_bytes(8, "little")

    def setup(arena: Any, make: Any) -> None:
        found.fill(arena)
        _run(grow, arena, make, ctx)

    return Case("red-black tree", grow, ctx, 128, setup)


def _object(name: str) -> Any:
    from workbench.objects import load_object

    return load_object(programs.directory() / "c" / f"{name}.o")


def _run(program: "Program", arena: Any, make: Any, ctx: bytes) -> None:
    with make(program, arena=arena) as engine:
        engine.run(ctx)


def measure(rounds: int, quick: bool, progress: Callable[[], object]) -> Times:
    """Run every program on every engine in turns, `rounds` times.

    `progress` is called after each program's turn, 11 * rounds times in all.
    """
    samples: list[Time] = []
    kernel = ""
    for case in cases(quick):
        with ExitStack() as stack:
            runs, steps, reason = _open(case, stack)
            kernel = kernel or reason
            for number in range(rounds):
                for engine, run in runs.items():
                    ns = run() / steps * 1e9
                    samples.append(Time(number, case.name, engine, steps, ns))
                progress()
    return Times(tuple(samples), kernel)


def _open(case: Case, stack: ExitStack) -> tuple[dict[str, Callable[[], float]], int, str]:
    """Make engines with arenas of their own; gives what times a run, the steps of one, a reason."""
    runs: dict[str, Callable[[], float]] = {}
    makes: tuple[Callable[..., Engine], ...] = (Interpreter, Jit)
    for make in makes:
        arena = stack.enter_context(Arena(case.pages))
        case.setup(arena, Jit)
        engine = stack.enter_context(make(case.program, arena))
        if isinstance(engine, Jit):
            engine.improve()
        result = engine.run(case.ctx)
        runs[result.engine] = _timed(engine, case.ctx)
    try:
        runs["kernel"] = _open_kernel(case, result.r0, stack)
    except (KernelError, Unsupported) as error:
        return runs, result.steps, str(error)
    return runs, result.steps, ""


def _timed(engine: "Engine", ctx: bytes) -> Callable[[], float]:
    """A run that returns its time: in the engine, or the thread's if others had the processor."""

    def run() -> float:
        engine.run(ctx)  # the kernel's runs are warmed up, too
        began = time.thread_time()
        inside = engine.run(ctx).seconds
        return min(inside, time.thread_time() - began)

    return run


def _open_kernel(case: Case, r0: int, stack: ExitStack) -> Callable[[], float]:
    """The program in the kernel, which must come to the same result."""
    from workbench.engines.kernel import Kernel, KernelArena, time_engines

    arena = stack.enter_context(KernelArena(case.pages))
    case.setup(arena, Kernel)
    engine = stack.enter_context(Kernel(case.program, arena))
    found = engine.run(case.ctx).r0
    if found != r0 & 0xFFFFFFFF:
        raise WorkbenchError(f"{case.name}: r0 is {found:#x} in the kernel, not {r0:#x}")

    def run() -> float:
        frame = time_engines({case.name: engine}, case.ctx, rounds=1, warmup=1)
        return float(frame["ns"].iloc[0]) * 1e-9

    return run
