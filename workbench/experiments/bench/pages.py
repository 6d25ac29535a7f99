"""What pages cost: allocate and free, in empty and in combed arenas, and making an arena.

The same BPF programs call the kfuncs on both engines. A combed arena has 2**20 pages of which every
second one is reserved: 524,288 holes of one page, the most that an arena can have.
"""

import gc
import resource
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from workbench.arena import Arena
from workbench.arena.either import AnyArena
from workbench.arena.rules import MAX_PAGES
from workbench.bpf.assembler import assemble_all
from workbench.engines.interpreter.engine import Interpreter
from workbench.errors import WorkbenchError

if TYPE_CHECKING:
    from workbench.engines.base import Engine

PROGRAMS = """
; ctx: rounds and pages in, failures out. Each round allocates a run of pages and frees it again.
.program pairs
    r6 = r1
    r7 = *(u64 *)(r6 + 0)
    r8 = *(u64 *)(r6 + 8)
    r9 = 0
round:
    may_goto done
    if r7 == 0 goto done
    r7 -= 1
    r1 = arena ll
    r2 = 0
    r3 = r8
    r4 = -1
    r5 = 0
    call bpf_arena_alloc_pages
    if r0 == 0 goto failed
    r1 = arena ll
    r2 = r0
    r3 = r8
    call bpf_arena_free_pages
    goto round
failed:
    r9 += 1
    goto round
done:
    r9 += r7                          ; rounds that Linux's time limit left out
    *(u64 *)(r6 + 16) = r9
    r0 = r9
    exit

; The same with one page at a time, in a hole of a combed arena chosen by an LCG.
.program holes
    r6 = r1
    r7 = *(u64 *)(r6 + 0)
    r8 = *(u64 *)(r6 + 8)
    r9 = 0
round:
    may_goto done
    if r7 == 0 goto done
    r7 -= 1
    r0 = 6364136223846793005 ll
    r8 *= r0
    r8 += 12345
    r2 = r8
    r2 >>= 45                         ; one of 2^19 holes, two pages apart
    r2 <<= 13
    r3 = arena + 4096 ll
    r2 += r3
    r1 = arena ll
    r3 = 1
    r4 = -1
    r5 = 0
    call bpf_arena_alloc_pages
    if r0 == 0 goto failed
    r1 = arena ll
    r2 = r0
    r3 = 1
    call bpf_arena_free_pages
    goto round
failed:
    r9 += 1
    goto round
done:
    r9 += r7                          ; rounds that Linux's time limit left out
    *(u64 *)(r6 + 16) = r9
    r0 = r9
    exit

; ctx: rounds and first page in, failures out. Reserves every second page.
.program comb
    r6 = r1
    r7 = *(u64 *)(r6 + 0)
    r8 = *(u64 *)(r6 + 8)
    r9 = 0
    r8 <<= 12
    r2 = arena + 0 ll
    r8 += r2
round:
    may_goto done
    if r7 == 0 goto done
    r7 -= 1
    r1 = arena ll
    r2 = r8
    r3 = 1
    call bpf_arena_reserve_pages
    r8 += 8192
    if r0 == 0 goto round
    r9 += 1
    goto round
done:
    r9 += r7
    *(u64 *)(r6 + 16) = r9
    r0 = r9
    exit
"""
HOLES = MAX_PAGES // 2
COMB_ROUNDS = 1 << 15  # Linux stops a loop after 250 ms


class Cost(NamedTuple):
    """A median cost in some unit, on either engine; None where it was not measured."""

    name: str
    unit: str
    emulated: float | None
    kernel: float | None
    limit: float | None = None


class _Case(NamedTuple):
    """One program to time: `pages` at a time, in a combed arena or an empty one."""

    name: str
    program: str
    pages: int
    combed: bool


CASES = (
    _Case("1 page, empty arena", "pairs", 1, False),
    _Case("64 pages, empty arena", "pairs", 64, False),
    _Case(f"1 page, {HOLES:,} holes, any of them", "pairs", 1, True),
    _Case(f"1 page, {HOLES:,} holes, random hole", "holes", 1, True),
)


def measure(repeats: int, count: int, kernel: bool) -> list[Cost]:
    """Median ns per page for an allocation and its release, `count` pages a sample."""
    emulated = _series(Arena, Interpreter, _cpu_time, repeats, count)
    real: dict[str, float] = {}
    if kernel:
        from workbench.engines.kernel import Kernel, KernelArena

        real = _series(KernelArena, Kernel, _wall_time, repeats, count)
    return [
        Cost(case.name, "ns per page", emulated[case.name], real.get(case.name), 1000.0)
        for case in CASES
    ]


def _series(
    arena: "Callable[[int], AnyArena]",
    engine: "Callable[..., Engine]",
    clock: Callable[[], float],
    repeats: int,
    count: int,
) -> dict[str, float]:
    """Time every case on one engine: median ns per page by the case's name."""
    programs = assemble_all(PROGRAMS)
    found: dict[str, list[float]] = {case.name: [] for case in CASES}
    with arena(MAX_PAGES) as empty, arena(MAX_PAGES) as combed:
        with engine(programs["comb"], arena=combed) as machine:
            for first in range(0, HOLES, COMB_ROUNDS):
                _run(machine, COMB_ROUNDS, 2 * first)
        for repeat in range(repeats + 1):
            for case in CASES:
                place = combed if case.combed else empty
                with engine(programs[case.program], arena=place) as machine:
                    _run(machine, 1, case.pages)
                    began = clock()
                    _run(machine, count // case.pages, case.pages)
                    seconds = clock() - began
                if repeat:  # the first warms up
                    found[case.name].append(seconds / count * 1e9)
    return {name: median(samples) for name, samples in found.items()}


def _run(machine: "Engine", first: int, second: int) -> None:
    """Run a program with two numbers for a context; WorkbenchError if a call in it failed."""
    ctx = b"".join(number.to_bytes(8, "little") for number in (first, second, 0))
    result = machine.run(ctx)
    if result.r0:
        raise WorkbenchError(f"{result.program}: {result.r0} calls failed on {result.engine}")


def _cpu_time() -> float:
    return time.thread_time()


def _wall_time() -> float:
    return time.perf_counter()


def measure_creation(repeats: int, kernel: bool) -> list[Cost]:
    """What an empty arena of 4 GiB costs: milliseconds to make, and MiB resident."""
    seconds, resident = _creation(Arena, repeats)
    real: tuple[float | None, float | None] = (None, None)
    if kernel:
        from workbench.engines.kernel import KernelArena

        real = _creation(KernelArena, repeats)
    return [
        Cost("empty arena of 4 GiB", "ms", seconds, real[0], 1.0),
        Cost("empty arena of 4 GiB, resident", "MiB", resident, real[1], 2.0),
    ]


def _creation(arena: "Callable[[int], AnyArena]", repeats: int) -> tuple[float, float]:
    """Median milliseconds to make and close an arena; MiB that it keeps resident when made."""
    arena(MAX_PAGES).close()
    gc.collect()
    before = _resident()
    kept = [arena(MAX_PAGES) for _ in range(8)]
    grown = (_resident() - before) / len(kept)
    for made in kept:
        made.close()
    del kept
    samples = []
    for _ in range(repeats):
        began = time.perf_counter()
        made = arena(MAX_PAGES)
        samples.append((time.perf_counter() - began) * 1e3)
        made.close()
    return median(samples), max(grown, 0.0) / 2**20


def _resident() -> int:
    """Bytes of this process in memory."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * resource.getpagesize()
