"""A verifier log as values: its steps, each with the states before and after it.

A log says, instruction by instruction, what the verifier knew. Linux prints what an instruction
changed; here every step has a whole state.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from workbench.bpf.isa import REGISTERS
from workbench.verifier.log.known import LogValue


class LogState(NamedTuple):
    """One function's registers (None: not readable) and stack slots, by offset from r10."""

    frame: int = 0
    registers: tuple[LogValue | None, ...] = (None,) * REGISTERS
    stack: tuple[tuple[int, LogValue], ...] = ()

    def __str__(self) -> str:
        parts = [f"R{n}={v.text}" for n, v in enumerate(self.registers) if v is not None]
        parts += [f"fp{offset}={value.text}" for offset, value in self.stack]
        return (f"frame{self.frame}: " if self.frame else "") + " ".join(parts)

    def value(self, name: str) -> LogValue | None:
        """The value of `R3` or `fp-8`; None where the state has none."""
        if name.startswith("R"):
            number = int(name[1:])
            return self.registers[number] if number < REGISTERS else None
        return dict(self.stack).get(int(name[2:]))


class LogSource(NamedTuple):
    """A line of C as the log quotes it; `line` 0 where the log does not say which."""

    text: str
    file: str = ""
    line: int = 0


class LogStep(NamedTuple):
    """The verifier looked at one instruction.

    `line` counts lines of the log from 1. `printed` holds what the log says of values after the
    instruction, by name ("R1", "fp-8"). `came_from` is the branch that a new path starts at, -1
    inside a path.
    """

    line: int
    pc: int
    opcode: int
    text: str
    before: LogState
    after: LogState
    printed: tuple[tuple[str, LogValue], ...] = ()
    source: LogSource | None = None
    came_from: int = -1

    @property
    def frame(self) -> int:
        """How deep in calls: 0 in the main function."""
        return self.before.frame


class LogReport(NamedTuple):
    """The report of Linux 7.3: each section as plain text."""

    category: str
    problem: str
    sections: tuple[tuple[str, str], ...] = ()

    def section(self, title: str) -> str:
        """The text under a title ("Reason", "At", "Causal path", "Suggestion"); "" if absent."""
        return dict(self.sections).get(title, "")


@dataclass(frozen=True)
class Reading:
    """What a verifier log says.

    `ok` is None where the log does not say (it was cut short). `reason` is the decisive line and
    `pc` the slot that it is about (-1: none, or accepted). `statistics` are the numbers of the
    last lines. `listing` has each instruction's text by slot. `unread` holds (line, text) of what
    was not understood.
    """

    ok: bool | None
    pc: int
    reason: str
    steps: tuple[LogStep, ...] = field(repr=False)
    report: LogReport | None = field(repr=False)
    statistics: dict[str, int]
    listing: dict[int, str] = field(repr=False)
    unread: tuple[tuple[int, str], ...] = field(repr=False)
    text: str = field(repr=False)

    @property
    def processed(self) -> int:
        """How many instructions the verifier looked at, 0 if the log does not say."""
        return self.statistics.get("processed", 0)

    def at(self, pc: int) -> tuple[LogStep, ...]:
        """Every visit of the instruction at slot `pc`, in order."""
        return tuple(step for step in self.steps if step.pc == pc)

    @cached_property
    def path(self) -> tuple[LogStep, ...]:
        """The steps that led to the last one: earlier paths that ended elsewhere are left out."""
        return tuple(_path(self.steps))

    def __str__(self) -> str:
        verdict = {True: "accepted", False: "refused", None: "no verdict (the log is cut short)"}
        where = f" at instruction {self.pc}" if self.pc >= 0 else ""
        head = verdict[self.ok] + (f"{where}: {self.reason}" if self.ok is False else "")
        steps = f"{len(self.steps)} step{'' if len(self.steps) == 1 else 's'}"
        unread = f", {len(self.unread)} lines not understood" if self.unread else ""
        return f"{head}; {steps} shown, {self.processed} instructions processed{unread}"


def _path(steps: tuple[LogStep, ...]) -> Iterator[LogStep]:
    """Walk back from the end; a path that started at a branch goes on before that branch.

    Linux follows one way of a branch to its end, then takes up the branch that it left last: the
    newest visit of the branch that no later path has taken up already is the one.
    """
    kept: list[LogStep] = []
    index = len(steps) - 1
    while index >= 0:
        step = steps[index]
        kept.append(step)
        index -= 1
        if step.came_from >= 0:
            index = _left(steps, index, step.came_from)
    return reversed(kept)


def _left(steps: tuple[LogStep, ...], index: int, branch: int) -> int:
    """The newest visit of `branch` at or before `index` that no path between them started at."""
    waiting = 0
    for at in range(index, -1, -1):
        if steps[at].pc == branch:
            if waiting == 0:
                return at
            waiting -= 1
        if steps[at].came_from == branch:
            waiting += 1
    return -1
