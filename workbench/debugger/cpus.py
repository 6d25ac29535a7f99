"""Several programs on one arena, interleaved instruction by instruction under a schedule.

Each CPU has registers, a stack and a context of its own; the arena is shared. A schedule says who
executes next, so a run repeats exactly, and a search over schedules finds the one that breaks a
program. Instructions are never cut in two and take effect at once: what a real CPU's store buffer
would reorder is not shown.

    trace.cpus     the CPU of each step
    depth          8 * CPU + frame: each CPU has 8 frames
    pc             a slot in all programs, one after the other as trace.program has them
"""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from workbench.arena import Arena
from workbench.arena.events import Actor, columns
from workbench.arguments import function, instance, octets, takes, want, whole
from workbench.bpf.addresses import MAX_FRAMES
from workbench.bpf.isa import REGISTERS
from workbench.bpf.program import Program, a_program
from workbench.engines.interpreter.engine import interpret
from workbench.engines.machine.joined import joined
from workbench.engines.machine.prepared import Prepared
from workbench.engines.machine.recorded import Recorded
from workbench.errors import WorkbenchError
from workbench.recording.columns import CHANGES, KEYFRAME, STEP_COLUMNS
from workbench.recording.trace import Trace
from workbench.recording.window import IN_BROWSER
from workbench.verifier import remembering

MOST_CPUS = 255 // MAX_FRAMES  # column `depth` has a byte for 8 * CPU + frame


@dataclass(frozen=True)
class RoundRobin:
    """Each CPU in turn, `quantum` instructions at a time."""

    quantum: int = 1

    def turns(self, cpus: int) -> Iterator[tuple[int, int]]:
        """Yield (CPU, instructions) for ever."""
        while True:
            yield from ((cpu, self.quantum) for cpu in range(cpus))


@dataclass(frozen=True)
class Random:
    """A CPU drawn for each turn, of 1 to `longest` instructions; the seed decides everything."""

    seed: int
    longest: int = 8

    def turns(self, cpus: int) -> Iterator[tuple[int, int]]:
        """Yield (CPU, instructions) for ever."""
        draw = random.Random(self.seed)
        while True:
            yield draw.randrange(cpus), draw.randint(1, self.longest)


@dataclass(frozen=True)
class Steps:
    """An explicit list of CPUs, one instruction each; what is left then runs to its end in turn."""

    order: Sequence[int]

    def turns(self, cpus: int) -> Iterator[tuple[int, int]]:
        """Yield (CPU, instructions): the list, then each CPU by itself."""
        yield from ((cpu, 1) for cpu in self.order)
        while True:
            yield from ((cpu, IN_BROWSER) for cpu in range(cpus))


Schedule = RoundRobin | Random | Steps


@takes(programs=instance(list, tuple), arena=instance(Arena), fuel=whole(1))
def record_cpus(
    programs: Sequence[Program],
    arena: Arena,
    schedule: Schedule | Sequence[int] | None = None,
    ctx: Sequence[bytes] | None = None,
    fuel: int = IN_BROWSER,
) -> Trace:
    """Run one program per CPU on a shared arena and return the one recording of all.

    `schedule` is RoundRobin() unless given; a list of CPU numbers means Steps. `ctx` has a
    context for each CPU, padded with zeros to the longest. The run ends when all programs have
    ended, when one faults, or after `fuel` steps. Raises WorkbenchError for no programs or more
    than 31, for contexts of another number, and for a schedule that names a CPU there is not.

    >>> count = wb.assemble("r0 = 0\\nr0 += 1\\nexit", name="count")
    >>> trace = wb.record_cpus([count, count], wb.Arena(pages=1), [0, 1, 1, 0])
    >>> trace.cpus.tolist()
    [0, 1, 1, 0, 0, 1]
    """
    machines, order, stop, reason = _run(programs, arena, schedule, ctx, fuel, recorded=True)
    return _joined(machines, order, stop, reason)


@takes(
    programs=instance(list, tuple), arena=function, broken=function, fuel=whole(1), longest=whole(1)
)
def find_schedule(
    programs: Sequence[Program],
    arena: Callable[[], Arena],
    broken: Callable[[Arena], bool],
    seeds: Iterable[int] = range(1000),
    ctx: Sequence[bytes] | None = None,
    longest: int = 8,
    fuel: int = IN_BROWSER,
    progress: Callable[[int], object] | None = None,
) -> "Trace | None":
    """Search random schedules for one after which `broken(arena)` is true, and record it.

    Every seed gets a fresh arena from `arena()`. `progress` is called before each with the number
    of seeds tried so far. Returns None when no seed of `seeds` breaks it: that is no proof. Ctrl-C
    ends the search. Raises WorkbenchError as `record_cpus` does.

    Two CPUs that add 1 to a word lose an update where both read it before one writes:

    >>> text = '''r1 = arena ll
    ...     r1 = arena + 0 ll
    ...     r1 = cast_kern(r1)
    ...     r2 = *(u64 *)(r1 + 0)
    ...     r2 += 1
    ...     *(u64 *)(r1 + 0) = r2
    ...     r0 = 0
    ...     exit'''
    >>> add = wb.assemble(text, name="add")
    >>> def fresh():
    ...     arena = wb.Arena(pages=1)
    ...     arena.user.store(arena.user_start, "u64", 0)
    ...     return arena
    >>> lost = lambda arena: arena.user.load(arena.user_start, "u64") < 2
    >>> wb.find_schedule([add, add], fresh, lost, longest=2)
    <Trace add | add: 16 steps, exit>
    """
    with remembering():
        for tries, seed in enumerate(seeds):
            if progress is not None:
                progress(tries)
            schedule = Random(seed, longest)
            tried = arena()
            _run(programs, tried, schedule, ctx, fuel, recorded=False)
            if broken(tried):
                trace = record_cpus(programs, arena(), schedule, ctx, fuel)
                return replace(trace, reason=trace.reason or f"schedule {schedule}")
    return None


class _Cpu:
    """One program on its way: its machine, what it records, and whether it has ended."""

    def __init__(
        self, program: Program, arena: Arena, number: int, ctx: bytes, room: int, recorded: bool
    ) -> None:
        self.prepared = Prepared(program, arena)
        self.prepared.start(ctx, number)
        self.recorded = Recorded(self.prepared, "steps" if recorded else None, room)
        self.stop = ""

    def advance(self, count: int) -> int:
        """Execute up to `count` instructions; returns how many."""
        before = self.prepared.steps
        stop = interpret(self.prepared, count, self.recorded, breaks=False)
        self.stop = "" if stop == "fuel" else stop
        return self.prepared.steps - before


def _run(
    programs: Sequence[Program],
    arena: Arena,
    schedule: Schedule | Sequence[int] | None,
    ctx: Sequence[bytes] | None,
    fuel: int,
    recorded: bool,
) -> tuple[list[_Cpu], NDArray[np.uint8], str, str]:
    """Run to the end: the CPUs, whose turn each step was, how it ended and why."""
    contexts = _checked(programs, ctx)
    cpus = [
        _Cpu(program, arena, number, contexts[number], fuel, recorded)
        for number, program in enumerate(programs)
    ]
    turns: list[tuple[int, int]] = []
    left, stop, reason = fuel, "fuel", f"not all ended within {fuel:,} steps"
    for number, count in _schedule(schedule).turns(len(cpus)):
        if not 0 <= number < len(cpus):
            raise WorkbenchError(f"the schedule names CPU {number}; there are {len(cpus)}")
        cpu = cpus[number]
        if not cpu.stop:
            done = cpu.advance(min(count, left))
            turns.append((number, done))
            left -= done
        if cpu.stop in ("fault", "interrupt"):
            stop = cpu.stop
            reason = f"CPU {number}: {cpu.prepared.reason()}" if stop == "fault" else ""
            break
        if all(cpu.stop for cpu in cpus):
            stop, reason = "exit", ""
            break
        if not left:
            break
    who = np.array([number for number, _ in turns], np.uint8)
    return cpus, np.repeat(who, [done for _, done in turns]), stop, reason


def _checked(programs: Sequence[Program], ctx: Sequence[bytes] | None) -> Sequence[bytes]:
    if not 1 <= len(programs) <= MOST_CPUS:
        raise WorkbenchError(f"{len(programs)} programs; there can be 1 to {MOST_CPUS} CPUs")
    if ctx is not None and len(ctx) != len(programs):
        raise WorkbenchError(f"{len(ctx)} contexts for {len(programs)} programs")
    contexts = ctx if ctx is not None else [b""] * len(programs)
    for program, content in zip(programs, contexts, strict=True):
        want(program, "a program", a_program)
        want(content, "a context", octets)
    longest = max(map(len, contexts))
    return [content.ljust(longest, b"\0") for content in contexts]


def _schedule(schedule: Schedule | Sequence[int] | None) -> Schedule:
    if schedule is None:
        return RoundRobin()
    if isinstance(schedule, RoundRobin | Random | Steps):
        return schedule
    return Steps(schedule)


def _joined(cpus: list[_Cpu], order: NDArray[np.uint8], stop: str, reason: str) -> Trace:
    """One trace of all CPUs, in the order in which they took their steps."""
    traces = [cpu.recorded.trace(cpu.stop, "", cpu.prepared.steps) for cpu in cpus]
    parts = [trace for trace in traces if trace is not None]
    programs = [cpu.prepared.program for cpu in cpus]
    program, first = joined(programs, " | ".join(program.name for program in programs))
    steps = {name: np.zeros(len(order), dtype) for name, dtype in STEP_COLUMNS.items()}
    for number, trace in enumerate(parts):
        mine = order == number
        if not len(trace):
            continue
        for name, column in trace.recorded_steps().items():
            steps[name][mine] = column
        steps["pc"][mine] += first[number]
        steps["depth"][mine] += number * MAX_FRAMES
    return replace(
        parts[0],
        program=program,
        code=np.concatenate([trace.code for trace in parts]),
        stop=stop,
        reason=reason,
        ctx=b"".join(trace.ctx for trace in parts),
        recorded=steps,
        changes=_changes(parts, order),
        keyframes=_keyframes(cpus, parts, order),
        page_events=_page_events(cpus[0], order, first),
        total_steps=len(order),
    )


def _changes(traces: list[Trace], order: NDArray[np.uint8]) -> dict[str, np.ndarray]:
    """What helpers changed on any CPU, by the steps and the registers of all."""
    parts = []
    for number, trace in enumerate(traces):
        own = trace.changes
        assert own is not None
        registers = np.uint64(number * MAX_FRAMES * REGISTERS) * (own["size"] == 0)
        moved = {
            "step": np.flatnonzero(order == number)[own["step"]].astype(np.uint32),
            "address": own["address"] + registers,
        }
        parts.append(own | moved)
    rows = {name: np.concatenate([part[name] for part in parts]) for name in CHANGES}
    by_step = np.argsort(rows["step"], kind="stable")
    return {name: column[by_step] for name, column in rows.items()}


def _keyframes(
    cpus: list[_Cpu], traces: list[Trace], order: NDArray[np.uint8]
) -> tuple[np.ndarray, np.ndarray]:
    """All registers of all CPUs before steps 0, 256, ..."""
    at = np.arange(0, len(order), KEYFRAME)
    key_regs = np.zeros((len(at), len(traces), MAX_FRAMES * REGISTERS), np.uint64)
    for number, trace in enumerate(traces):
        done = np.concatenate([[0], np.cumsum(order == number)])[at]
        for row, step in enumerate(done):
            frames = trace.registers(int(step)) if len(trace) else _frames(cpus[number])
            key_regs[row, number] = frames.ravel()
    return key_regs.reshape(len(at), -1), np.zeros(len(at), np.uint8)


def _frames(cpu: _Cpu) -> np.ndarray:
    """The registers of a CPU that never had its turn."""
    return cpu.prepared.machine.regs.reshape(MAX_FRAMES, -1)[:, :REGISTERS]


def _page_events(
    cpu: _Cpu, order: NDArray[np.uint8], first: Sequence[int]
) -> dict[str, np.ndarray]:
    """The shared log since the start, with slots counted as the joined program counts them."""
    log = dict(columns(cpu.prepared.state.log, cpu.recorded.logged))
    step = np.clip(log["time"].astype(np.int64) - cpu.recorded.clock - 1, 0, len(order) - 1)
    start = np.array(first, np.int32)[order[step]]
    log["pc"] = np.where(log["actor"] == Actor.PROGRAM, log["pc"] + start, log["pc"])
    return log
