"""Runs wild programs in processes of their own, so that a crash or a hang is an outcome."""

import multiprocessing
import os
import resource
import signal
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np
import pytest
from generate.wild import BASE, Wild, wild

import workbench as wb
from support.fences import fenced
from workbench.bpf.program import Program, Reference
from workbench.engines.jit import cache, native, tiers
from workbench.engines.machine import entries, prepared
from workbench.engines.machine.state import Machine
from workbench.errors import WorkbenchError
from workbench.maps import emulated
from workbench.maps.layout import Field

FUEL = 3000
TRACES = (None, None, None, None, "steps", "events", "counts", "faults")
CPU_SECONDS, SECONDS = 120, 1200  # of one program: beyond it hangs, in a loop or on a lock
CHUNK = 250  # programs of a process: the machine code of all of them stays in its memory
LARGE = 1 << 16  # bytes of an array that are compared, or that are copied between fences
LAZY = ("journal", "printed")  # half a megabyte and more, mappings of their own
_COUNTS = (Field.COUNT, Field.HEAD, Field.TAIL, Field.CONSUMER, Field.PRODUCER)


class Finding(NamedTuple):
    """What must not be: kind is "crash", "hang", "difference" or "error"."""

    kind: str
    seed: int
    text: str


class Tally(NamedTuple):
    """How often programs ended in which way, and what must not be."""

    stops: Counter[str]
    findings: list[Finding]


def left_by(engine: type, case: Wild, runs: int = 2) -> list[object]:
    """All that runs of a wild program leave, the second on what the first left in maps and arena.

    An error of the workbench's is an answer like others. Some programs are watched meanwhile.
    """
    references = tuple(Reference(*reference) for reference in case.references)
    program = Program(f"wild_{case.seed}", case.type, case.bytecode, references, maps=case.maps)
    maps = {definition.name: wb.Map(definition) for definition in case.maps}
    for map in maps.values():
        key = bytes(map.definition.key_size)
        if map.definition.type == "prog_array":
            map[key] = program
        elif map.definition.inner:
            map[key] = wb.Map(map.definition.inner)
    arena = wb.Arena(case.pages, 0, BASE) if case.pages else None
    if arena:
        arena.user.write(BASE, bytes(range(1, 129)) * 32)
    watched = TRACES[case.seed % len(TRACES)]
    trace = None if engine is wb.Jit and watched in ("steps", "events") else watched
    found: list[object] = []
    try:
        with engine(program, arena=arena, maps=maps, verify=case.verify) as machine:
            for _ in range(runs):
                ran = machine.run(case.ctx, fuel=FUEL, trace=trace)
                found += [ran.stop, ran.r0, ran.steps, ran.pc, ran.reason, ran.ctx, ran.packet]
                found.append(ran.printed)
    except WorkbenchError as error:
        found += [type(error).__name__, str(error)]
    if arena:
        found += [arena.live_pages, arena.free_extents.tolist(), arena.snapshot().bytes.tobytes()]
    return found + [_content(map) for map in maps.values()]


def _content(map: "wb.Map") -> object:
    """What a map contains; maps of maps and programs have addresses in them."""
    store = map.store
    assert isinstance(store, emulated.EmulatedMap)
    if map.definition.type in ("prog_array", "array_of_maps", "hash_of_maps"):
        return None
    counts = [int(store.header[field]) for field in _COUNTS]
    return counts, zlib.crc32(store.values[:LARGE]), zlib.crc32(store.keys[:LARGE])


def judged(seed: int) -> tuple[str, Finding | None]:
    """How a program stopped on both engines, and what is wrong with that."""
    case = wild(seed)
    try:
        engines = (wb.Interpreter, wb.Jit) if seed % 2 else (wb.Jit, wb.Interpreter)
        one, other = (left_by(engine, case) for engine in engines)
    except Exception as error:
        return "error", Finding("error", seed, f"{type(error).__name__}: {error}")
    if one != other:
        parts = [f"{a!r:.200} / {b!r:.200}" for a, b in zip(one, other, strict=False) if a != b]
        return "difference", Finding("difference", seed, parts[0] if parts else "length")
    return str(one[0]), None


def compile_all() -> None:
    """Compile what programs need here, once for all processes that are forked from this one."""
    program = wb.assemble("r0 = 0\nexit")
    for entry in (entries.step, entries.call, entries.show, entries.advance):
        assert entry.address
    for trace in sorted(set(TRACES), key=str):
        with wb.Interpreter(program) as machine:
            machine.run(trace=trace)
    with wb.Jit(program) as machine:
        machine.run()


def between_fences(patch: pytest.MonkeyPatch, at_end: bool) -> None:
    """Fences around every array of machines, contexts, packets and maps made from now on.

    Machine code is not kept on disk, and made in a hurry: good code takes five times as long.
    """
    machine, inputs, lazy = prepared._machine, prepared.inputs, emulated.lazy_bytes

    def arrays(*args: Any) -> Machine:
        made = machine(*args)._asdict()
        return Machine(**{k: v if k in LAZY else fenced(v, at_end) for k, v in made.items()})

    def bytes_of(type: str, ctx: bytes) -> Any:
        made = inputs(type, ctx)
        return made._replace(ctx=fenced(made.ctx, at_end), buffer=fenced(made.buffer, at_end))

    def memory(size: int) -> np.ndarray:
        return fenced(np.zeros(size, np.uint8), at_end) if size <= LARGE else lazy(size)

    def hurried(wanted: native.Wanted) -> native.Native:
        return native.compile_program(wanted._replace(quick=True))

    patch.setattr(prepared, "_machine", arrays)
    patch.setattr(prepared, "inputs", bytes_of)
    patch.setattr(emulated, "lazy_bytes", memory)
    patch.setattr(tiers, "compile_program", hurried)
    patch.setattr(cache, "load", lambda key: None)
    patch.setattr(cache, "store", lambda key, content: None)


def _work(seeds: range, place: Any, results: Connection) -> None:
    """Judge programs one after the other; `place` says which one is being run."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    stops: Counter[str] = Counter()
    findings = []
    with pytest.MonkeyPatch.context() as patch:
        between_fences(patch, at_end=seeds.start // CHUNK % 2 == 0)
        for seed in seeds:
            place.value = seed
            signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)  # whose signal ends the process
            signal.setitimer(signal.ITIMER_REAL, SECONDS)
            stop, finding = judged(seed)
            stops[stop] += 1
            if finding:
                findings.append(finding)
    results.send((stops, findings))
    results.close()
    os._exit(0)


def _batch(seeds: range, context: Any) -> Iterator[tuple[Counter[str], list[Finding]] | None]:
    """Run a range in one process, in several if programs end theirs; None while it runs."""
    while seeds:
        place = context.Value("q", seeds.start, lock=False)
        here, there = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(seeds, place, there))
        process.start()
        there.close()
        while not here.poll() and process.is_alive():
            yield None
        try:
            yield here.recv()
            process.join()
            return
        except EOFError:
            process.join()
        died = -process.exitcode
        kind = "hang" if died in (signal.SIGPROF, signal.SIGALRM) else "crash"
        yield Counter({kind: 1}), [Finding(kind, place.value, f"signal {died}")]
        done = range(seeds.start, place.value)
        seeds = range(place.value + 1, seeds.stop)
        if done:
            yield from _batch(done, context)


def run_all(
    seeds: range, workers: int = 2, report: Callable[[int, Tally], None] | None = None
) -> Tally:
    """Judge the programs of all seeds; `report` is told how far it is after each batch."""
    context = multiprocessing.get_context("fork")
    total = Tally(Counter(), [])
    todo = [range(at, min(at + CHUNK, seeds.stop)) for at in range(seeds.start, seeds.stop, CHUNK)]
    running: list[Iterator[tuple[Counter[str], list[Finding]] | None]] = []
    while todo or running:
        while todo and len(running) < workers:
            running.append(_batch(todo.pop(0), context))
        for batch in list(running):
            for found in batch:
                if found is None:
                    break
                total.stops.update(found[0])
                total.findings.extend(found[1])
                if report:
                    report(sum(total.stops.values()), total)
            else:
                running.remove(batch)
        time.sleep(0.05)
    return total
