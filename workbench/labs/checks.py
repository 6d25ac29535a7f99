"""What checks say about a run: counts that speak of what happened, and messages that help.

    with within(5):
        trace = attempt(program, arena)
    require(dropped_stores(trace) == 0, "a store was lost: was the page allocated first?")

Everything runs on the interpreter with fuel, so an endless loop or a wild pointer costs one task.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import FrameType
from typing import TYPE_CHECKING

import numpy as np

from workbench.arena import Arena
from workbench.bpf.assembler import assemble
from workbench.bpf.isa import Op
from workbench.bpf.program import Program
from workbench.engines.record import record
from workbench.errors import WorkbenchError
from workbench.recording.trace import Trace

if TYPE_CHECKING:
    import pandas as pd

FUEL = 100_000  # steps: ends a loop without an end within milliseconds; solutions need fewer


class NotYet(AssertionError):
    """A check that does not hold yet; notebooks show its message without a traceback."""

    def _render_traceback_(self) -> list[str]:
        return [f"Not yet: {self}"]


def require(condition: object, message: str) -> None:
    """Go on if the condition holds; otherwise raise NotYet with the message."""
    if not condition:
        raise NotYet(message)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Stop a student's Python code after some seconds; in the main thread of a Unix process.

    Raises NotYet in that code when they are over.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        raise NotYet(f"still running after {seconds:g} seconds; is there a loop without an end?")

    _compiled()
    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@cache
def _compiled() -> None:
    """Have the interpreter and the user's view compiled before a student's seconds count."""
    with Arena(pages=1) as arena:
        arena.user.store(arena.user_start, "u64", 0)
        arena.user.write(arena.user_start, bytes(8))
        arena.user.read(arena.user_start, 8)
        arena.user.load(arena.user_start, "u64")
        record(assemble("r0 = 0\nexit\n"), arena, b"")


def program(text: object, name: str = "student") -> Program:
    """Assemble a student's text; raises NotYet for no text, and with the line that is wrong."""
    require(text is not None, "there is no answer yet: nothing was returned")
    require(isinstance(text, str), f"expected the program as text, not {type(text).__name__}")
    try:
        return assemble(str(text), name=name)
    except WorkbenchError as error:
        raise NotYet(f"the program does not assemble: {error}") from None


def attempt(
    text: "str | Program | None",
    arena: Arena | None = None,
    ctx: bytes = b"",
    fuel: int = FUEL,
) -> Trace:
    """Run a program with fuel, in steps, and return its recording.

    Raises NotYet with the reason where it is refused, faults or is still running at the end.
    """
    ready = text if isinstance(text, Program) else program(text)
    try:
        trace = record(ready, arena, ctx, fuel=fuel, capacity=fuel)
    except WorkbenchError as error:
        raise NotYet(f"the program was refused: {error}") from None
    require(trace.stop != "fuel", f"still running after {fuel:,} steps; does a loop never end?")
    require(trace.stop == "exit", f"the program was stopped: {trace.reason}")
    return trace


def result(trace: Trace) -> int:
    """What the program returned: r0."""
    return int(trace.state(len(trace)).registers[0])


def steps(trace: Trace) -> int:
    """Instructions executed."""
    return trace.total_steps


def faults(source: "Trace | Arena | pd.DataFrame") -> int:
    """Page faults of user space: pages populated by a touch, first touches of present pages."""
    return _count(source, "user_fault", "user_minor", "segv")


def absent_reads(source: "Trace | Arena | pd.DataFrame") -> int:
    """Reads of absent pages by the program, which gave 0."""
    return _count(source, "absent_read")


def dropped_stores(source: "Trace | Arena | pd.DataFrame") -> int:
    """Stores of the program that were lost, because the page was absent."""
    return _count(source, "dropped_write")


def _count(source: "Trace | Arena | pd.DataFrame", *kinds: str) -> int:
    events = source.events if isinstance(source, Trace | Arena) else source
    return int(events["kind"].isin(kinds).sum())


def casts(trace: Trace) -> int:
    """Executed cast_user instructions, whatever the mode made of them."""
    user = trace.program.instructions["op"] == Op.CAST_USER
    return int(trace.counts[user].sum())


def mistakes(trace: Trace) -> list[str]:
    """What the arena sanitizer calls an error or a warning: a line each."""
    found = trace.sanitize()
    grave = found[found["level"] != "note"]
    return [
        f"{row.finding} at step {row.step} (pc {row.pc}, {row.line}): {row.why}"
        for row in grave.itertuples()
    ]


def unusable(extents: object, k: int) -> float:
    """Share of the free pages that cannot serve k pages in a row; 0 when nothing is free."""
    from workbench.models.fragmentation import unusable_index

    value = unusable_index(np.asarray(extents), k)
    return 0.0 if np.isnan(value) else value
