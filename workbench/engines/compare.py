"""One program on several engines, each with a fresh arena at the same address: do they agree?"""

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from html import escape
from itertools import zip_longest
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from workbench.arena.either import AnyArena
from workbench.arena.events import Actor, Kind, columns
from workbench.arena.rules import ArenaFlags
from workbench.arena.snapshot import Snapshot
from workbench.arguments import flags, octets, optional, takes, whole
from workbench.bpf.declarations import MapDefinition
from workbench.bpf.program import Program, a_program
from workbench.engines.base import Result
from workbench.errors import KernelError, Unsupported, VerificationError, WorkbenchError
from workbench.maps import Content, Map, create, drained

if TYPE_CHECKING:
    from workbench.arena import Arena
    from workbench.engines.kernel import KernelArena
    from workbench.objects import Object

    Prepare = Callable[[AnyArena, Mapping[str, Map]], None]

PAGES = 64  # of an arena that no object declares: few, as every engine copies them; not measured
R0_BITS = {"kernel": 32}  # how much of r0 an engine returns: BPF_PROG_TEST_RUN has a u32 for it


class Fault(NamedTuple):
    """A program's access to an absent page; `pc` is -1 where the engine does not report it."""

    cause: str
    address: int
    pc: int = -1

    def __str__(self) -> str:
        at = f" by instruction {self.pc}" if self.pc >= 0 else ""
        return f"{self.cause} at {self.address:#x}{at}"


class Outcome(NamedTuple):
    """What one engine made of the program: a result, arena and maps after it, or a refusal.

    `refused` is the verifier's reason, "" if the program ran. `maps` has the content of each map
    by name, see `workbench.maps.drained`. `free` are the arena's free ranges as (first page,
    pages), None where they cannot be read. `faults` are the accesses to absent pages that the
    engine reported, oldest first; Linux does so from 6.18 on, where it finds the memory for it.
    """

    result: Result | None
    arena: Snapshot | None
    refused: str = ""
    maps: Mapping[str, Content] = {}
    free: tuple[tuple[int, int], ...] | None = None
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """A program's outcome on each engine that works here, and the first difference in words.

    `outcomes` by engine, in the order asked for; `missing` says of the other engines why they
    could not run. `difference` is "" where nothing differs.
    """

    program: str
    outcomes: dict[str, Outcome] = field(repr=False)
    missing: dict[str, str]
    difference: str

    @property
    def equal(self) -> bool:
        """Whether at least two engines ran and agree in everything; False when only one did."""
        return len(self.outcomes) > 1 and not self.difference

    @property
    def results(self) -> dict[str, Result]:
        """The results of the engines that ran the program."""
        return {name: found.result for name, found in self.outcomes.items() if found.result}

    def __str__(self) -> str:
        lines = [f"{self.program}: {self._verdict()}"]
        lines += [f"  {name:<12} {_line(found)}" for name, found in self.outcomes.items()]
        lines += [f"  {name:<12} not run: {reason}" for name, reason in self.missing.items()]
        return "\n".join(lines)

    def _verdict(self) -> str:
        """Answer in one phrase."""
        if self.difference:
            return f"DIFFERENT: {self.difference}"
        if len(self.outcomes) < 2:
            return "not compared: fewer than two engines could run it"
        return "equal on " + " and ".join(self.outcomes)

    def _repr_html_(self) -> str:
        cells = [(name, _line(found)) for name, found in self.outcomes.items()]
        cells += [(name, f"not run: {reason}") for name, reason in self.missing.items()]
        rows = "".join(
            f"<tr><th style='text-align:left'>{escape(name)}</th>"
            f"<td style='text-align:left'>{escape(text)}</td></tr>"
            for name, text in cells
        )
        sign = "✓" if self.equal else "✗" if self.difference else "–"
        title = f"{sign} {escape(self.program)}: {escape(self._verdict())}"
        return f"<table><caption style='text-align:left'>{title}</caption>{rows}</table>"


@takes(program=a_program, ctx=octets, pages=optional(whole()), flags=flags)
def compare(
    program: Program,
    engines: Sequence[str] = ("interpreter", "kernel"),
    ctx: bytes = b"",
    pages: int | None = None,
    flags: ArenaFlags | int = 0,
    user_base: int | None = None,
    before: Sequence[Program] = (),
    obj: "Object | None" = None,
    prepare: "Prepare | None" = None,
) -> Comparison:
    r"""Run a program everywhere and say where the engines first disagree.

    Of a program from an object file, `obj`, the arena is the one that the object declares, with its
    variables' first values in it; without one `pages` is 64.

    Every engine gets a fresh arena of `pages` pages with these flags, all at `user_base` (None:
    where the kernel has room), so that stored pointers must be equal to the bit. `before` are
    programs that run first, without context, such as a benchmark's setup; all share the maps
    that they declare. `prepare(arena, maps)` is called before them all on each engine, to fill
    arena and maps: `lambda arena, maps: maps["table"].update(1, 2)`.

    Compared are the verdict, stop, r0 (its low half when the kernel takes part), context or packet,
    what is printed, present pages, every byte of the arena, its free ranges, and what is in each
    map (of per-CPU maps the values in order of size; not LRU maps, which differ in what they drop).
    Between engines that count them also steps and accesses to absent pages. The texts and accesses
    that Linux reports must be among ours, in order. An engine that cannot run here is named in
    `missing`. Raises WorkbenchError for the name of an engine that there is not.

        >>> found = wb.compare(wb.assemble("r0 = 42\nexit"), ("interpreter", "jit"))
        >>> found.equal, found.results["jit"].r0
        (True, 42)
    """
    for name in engines:
        if name not in _ENGINES:
            raise WorkbenchError(f"unknown engine '{name}'; there are {', '.join(_ENGINES)}")
    outcomes: dict[str, Outcome] = {}
    missing: dict[str, str] = {}
    for name in sorted(dict.fromkeys(engines), key=_pins_base, reverse=True):
        try:
            with _arena(name, obj, pages, int(flags), user_base) as arena:
                user_base = arena.user_start
                outcomes[name] = _outcome(name, program, arena, ctx, before, prepare)
        except (KernelError, Unsupported) as error:
            missing[name] = str(error)
    ordered = {name: outcomes[name] for name in engines if name in outcomes}
    return Comparison(program.name, ordered, missing, _first_difference(ordered))


def _arena(
    name: str, obj: "Object | None", pages: int | None, flags: int, user_base: int | None
) -> AnyArena:
    """Make an engine's arena: an object's own, or a plain one."""
    make = _ENGINES[name].arena
    if obj is not None and obj.arena_map is not None:
        return obj.arena(make, user_base, pages, flags)
    return make(PAGES if pages is None else pages, flags, user_base)


def _outcome(
    name: str,
    program: Program,
    arena: AnyArena,
    ctx: bytes,
    before: Sequence[Program],
    prepare: "Prepare | None",
) -> Outcome:
    """Run on one engine and look at what is left."""
    run, make = _ENGINES[name].run, _ENGINES[name].map
    with ExitStack() as stack:
        maps: dict[str, Map] = {}
        for one in (*before, program):
            maps = create(one.maps, maps, make=lambda d: stack.enter_context(make(d)))
        if prepare is not None:
            prepare(arena, maps)
        try:
            for earlier in before:
                run(earlier, arena, b"", maps)
            result, faults = run(program, arena, ctx, maps)
        except VerificationError as error:
            return Outcome(None, None, str(error))
        found = {key: drained(map) for key, map in maps.items()}
    return Outcome(result, arena.snapshot(), "", found, _free(arena), faults)


def _free(arena: AnyArena) -> tuple[tuple[int, int], ...] | None:
    """The free ranges; None where the kernel's memory cannot be read."""
    try:
        return tuple((first, count) for first, count in arena.free_extents.tolist())
    except (KernelError, Unsupported):
        return None


def _first_difference(outcomes: dict[str, Outcome]) -> str:
    """Say how the first engine that disagrees differs from the first of all; "" if none does."""
    names = list(outcomes)
    for name in names[1:]:
        if words := _difference(names[0], outcomes[names[0]], name, outcomes[name]):
            return words
    return ""


def _difference(first: str, one: Outcome, second: str, other: Outcome) -> str:
    """Compare two outcomes: verdict, stop, r0, steps, texts, context, arena, maps, faults."""
    if one.result is None or other.result is None:
        return _different_verdict(first, one, second, other)
    mine, theirs = one.result, other.result
    if mine.stop != theirs.stop:
        reason = mine.reason or theirs.reason
        return f"stop is {mine.stop} on {first}, {theirs.stop} on {second}" + (
            f" ({reason})" if reason else ""
        )
    bits = min(R0_BITS.get(first, 64), R0_BITS.get(second, 64))
    mask = (1 << bits) - 1
    if (mine.r0 ^ theirs.r0) & mask:
        return f"r0 is {mine.r0 & mask:#x} on {first}, {theirs.r0 & mask:#x} on {second}"
    if mine.steps != theirs.steps and "kernel" not in (first, second):
        return f"steps are {mine.steps:,} on {first}, {theirs.steps:,} on {second}"
    if different := _different_prints(first, mine.printed, second, theirs.printed):
        return different
    if mine.ctx != theirs.ctx:
        return f"context: {_first_byte(first, mine.ctx, second, theirs.ctx)}"
    assert one.arena is not None
    assert other.arena is not None
    found = one.arena.difference(other.arena)
    if found:
        return f"arena: {found} ({first}, {second})"
    if one.free != other.free and None not in (one.free, other.free):
        return f"free pages: {one.free} on {first}, {other.free} on {second}"
    different = _different_maps(first, one.maps, second, other.maps)
    return different or _different_faults(first, one.faults, second, other.faults)


def _different_prints(
    first: str, mine: tuple[str, ...], second: str, theirs: tuple[str, ...]
) -> str:
    """Say where the printed texts differ; of Linux's, not all may be known."""
    if "kernel" in (first, second):
        ours, reported = (theirs, mine) if first == "kernel" else (mine, theirs)
        found = iter(ours)
        strange = next((text for text in reported if text not in found), None)
        return "" if strange is None else f"only the kernel prints: {strange!r}"
    for number, (one, other) in enumerate(zip_longest(mine, theirs), 1):
        if one != other:
            return f"text {number}: {one!r} on {first}, {other!r} on {second}"
    return ""


def _different_faults(
    first: str, mine: tuple[Fault, ...], second: str, theirs: tuple[Fault, ...]
) -> str:
    """Say where accesses to absent pages differ; Linux may have left some out."""
    if "kernel" in (first, second):
        ours, reported = (theirs, mine) if first == "kernel" else (mine, theirs)
        found = iter((fault.cause, fault.address) for fault in ours)
        strange = next((f for f in reported if (f.cause, f.address) not in found), None)
        return f"only the kernel reports: {strange}" if strange else ""
    for number, (one, other) in enumerate(zip_longest(mine, theirs), 1):
        if one != other:
            said = (f"{fault or 'nothing'}" for fault in (one, other))
            return f"fault {number}: {next(said)} on {first}, {next(said)} on {second}"
    return ""


def _different_maps(
    first: str, one: Mapping[str, Content], second: str, other: Mapping[str, Content]
) -> str:
    """Say where the maps first differ."""
    for name, mine in one.items():
        theirs = other[name]
        for key in [*mine, *(key for key in theirs if key not in mine)]:
            if mine.get(key) != theirs.get(key):
                shown = [_hex(content.get(key)) for content in (mine, theirs)]
                return f"map '{name}' at {_hex(key)}: {shown[0]} on {first}, {shown[1]} on {second}"
    return ""


def _hex(content: bytes | int | None) -> str:
    if content is None:
        return "nothing"
    return f"record {content}" if isinstance(content, int) else content.hex(" ", 4)


def _different_verdict(first: str, one: Outcome, second: str, other: Outcome) -> str:
    """Two refusals agree, whatever their words."""
    if one.refused and other.refused:
        return ""
    refuses, reason = (first, one.refused) if one.refused else (second, other.refused)
    return f"{refuses} refuses the program ({reason}), {second if one.refused else first} runs it"


def _first_byte(first: str, mine: bytes, second: str, theirs: bytes) -> str:
    """Say where two byte strings first differ."""
    if len(mine) != len(theirs):
        return f"{len(mine)} bytes on {first}, {len(theirs)} on {second}"
    at = next(at for at, (a, b) in enumerate(zip(mine, theirs, strict=True)) if a != b)
    return f"byte {at} is {mine[at]:#04x} on {first}, {theirs[at]:#04x} on {second}"


def _line(found: Outcome) -> str:
    """Describe one outcome in a line."""
    if found.result is None:
        return f"refused: {found.refused}"
    result, pages = found.result, len(found.arena.pages) if found.arena else 0
    low = " (low half)" if R0_BITS.get(result.engine, 64) == 32 else ""
    reason = f" ({result.reason})" if result.reason else ""
    return (
        f"{result.stop}{reason}, r0 = {result.r0:#x}{low}, "
        f"{pages} page{'' if pages == 1 else 's'} present"
    )


Ran = tuple[Result, tuple[Fault, ...]]


class _Engine(NamedTuple):
    """How to make an engine's arena, how to run a program, and how to make its maps."""

    arena: "Callable[[int, int, int | None], AnyArena]"
    run: "Callable[[Program, AnyArena, bytes, Mapping[str, Map]], Ran]"
    map: Callable[[MapDefinition], Map] = Map


def _pins_base(name: str) -> bool:
    """Whether an engine's arena must be mapped for real, and so may not get the usual address."""
    return name == "kernel"


def _emulated(pages: int, flags: int, user_base: int | None) -> "Arena":
    from workbench.arena import Arena

    return Arena(pages, flags, user_base)


def _interpret(program: Program, arena: AnyArena, ctx: bytes, maps: Mapping[str, Map]) -> Ran:
    from workbench.engines.interpreter.engine import Interpreter

    with Interpreter(program, arena, maps=maps) as engine:  # type: ignore[arg-type]
        return engine.run(ctx), _faults(arena)  # type: ignore[arg-type]


def _compile(program: Program, arena: AnyArena, ctx: bytes, maps: Mapping[str, Map]) -> Ran:
    from workbench.engines.jit import Jit

    with Jit(program, arena, maps=maps) as engine:  # type: ignore[arg-type]
        return engine.run(ctx), _faults(arena)  # type: ignore[arg-type]


def _faults(arena: "Arena") -> tuple[Fault, ...]:
    """What programs met in an emulated arena, from its log."""
    log = columns(arena.state.log)
    absent = (log["kind"] == Kind.ABSENT_READ) | (log["kind"] == Kind.DROPPED_WRITE)
    rows = np.flatnonzero(absent & (log["actor"] == Actor.PROGRAM))
    found = zip(*(log[name][rows].tolist() for name in ("kind", "address", "pc")), strict=True)
    return tuple(Fault(Kind(kind).name.lower(), address, pc) for kind, address, pc in found)


def _real(pages: int, flags: int, user_base: int | None) -> "KernelArena":
    from workbench.engines.kernel import KernelArena

    return KernelArena(pages, flags, user_base)


def _real_map(definition: MapDefinition) -> Map:
    from workbench.engines.kernel import kernel_map

    return kernel_map(definition)


def _run_for_real(program: Program, arena: AnyArena, ctx: bytes, maps: Mapping[str, Map]) -> Ran:
    from workbench.engines.kernel import Kernel
    from workbench.evidence.measurement import pinned

    with Kernel(program, arena, maps=maps) as engine, pinned(min(os.sched_getaffinity(0))):
        result = engine.run(ctx)
        return result, tuple(_reported(engine.reports()))


def _reported(text: str) -> Iterable[Fault]:
    """What Linux said of absent pages."""
    for kind, address in re.findall(r"ERROR: Arena (READ|WRITE) access at \D*(0x[0-9a-f]+)", text):
        yield Fault("absent_read" if kind == "READ" else "dropped_write", int(address, 16))


_ENGINES = {
    "interpreter": _Engine(_emulated, _interpret),
    "jit": _Engine(_emulated, _compile),
    "kernel": _Engine(_real, _run_for_real, _real_map),
}
