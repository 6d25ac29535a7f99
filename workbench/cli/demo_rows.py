"""What the demo says of each program: a row for each engine, and the C examples' rows."""

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from workbench.arena import Arena
from workbench.arena.snapshot import Snapshot
from workbench.engines.interpreter.engine import Interpreter
from workbench.engines.jit import Jit
from workbench.examples import c_programs

BASE = 0x7E0_0000_0000  # where every engine's arena begins, the largest too


class Row(NamedTuple):
    """One program on one engine.

    steps, casts, allocations: None where they are not counted. faults: page faults of the
    user side. agrees: the user side found what the model says. difference: from the interpreter,
    in words. seconds: one run without recording.
    """

    program: str
    engine: str
    steps: int | None
    casts: int | None
    faults: int
    allocations: int | None
    pages: int
    r0: int
    agrees: bool
    difference: str
    seconds: float


HEADER = (
    "program",
    "engine",
    "steps",
    "casts",
    "user faults",
    "allocations",
    "pages",
    "r0",
    "user side",
    "time",
)


def user_faults(events: pd.DataFrame) -> int:
    """How many touches of the user side were page faults."""
    return int(events["kind"].isin(["user_fault", "user_minor", "segv"]).sum())


def verdict(rows: Sequence[Row], kernel: str) -> str:
    """Say in a sentence whether the engines agree, or where they do not."""
    if differences := [f"{row.program}: {row.difference}" for row in rows if row.difference]:
        return f"DIFFERENT: {'; '.join(differences)}"
    if kernel:
        return f"kernel engine not run: {kernel}"
    return "All engines agree on r0 and on every byte of the arena."


def cells(row: Row) -> list[str]:
    """A row as text; a dash is what the engine does not count."""
    counts = (row.steps, row.casts, row.faults, row.allocations, row.pages)
    return [
        row.program,
        row.engine,
        *("–" if n is None else f"{n:,}" for n in counts),
        f"{row.r0:#x}",
        "agrees" if row.agrees else "DIFFERS",
        f"{row.seconds * 1e6:,.0f} µs",
    ]


def c_rows(name: str, kernel: bool) -> list[Row]:
    """Run the object of a C example on every engine, at one address."""
    example = c_programs.example(name)
    engines: list[tuple[str, type, type]] = [
        ("interpreter", Interpreter, Arena),
        ("jit", Jit, Arena),
    ]
    if kernel:
        from workbench.engines.kernel import Kernel, KernelArena

        engines.append(("kernel", Kernel, KernelArena))
    found = [_c_row(example, name, engine, make) for name, engine, make in engines]
    first = found[0][1]
    return [row._replace(difference=first.difference(snapshot)) for row, snapshot in found]


def _c_row(
    example: c_programs.CExample, name: str, engine: type, make: type
) -> tuple[Row, Snapshot]:
    """Run one example on one engine; gives also the arena that it leaves."""
    obj = example.load()
    with obj.arena(make, user_base=BASE) as arena:  # type: ignore[attr-defined]
        results = example.run(obj, arena, engine)
        snapshot, pages = arena.snapshot(), arena.live_pages
        agrees = example.walk(obj, arena) == example.model()
        faults = user_faults(arena.events)
    row = Row(
        program=f"{example.name}.c",
        engine=name,
        steps=None if name == "kernel" else sum(result.steps for result in results),
        casts=None,
        faults=faults,
        allocations=None,
        pages=pages,
        r0=results[-1].r0,
        agrees=agrees and all(result.stop == "exit" for result in results),
        difference="",
        seconds=sum(result.seconds for result in results),
    )
    return row, snapshot
