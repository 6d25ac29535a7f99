"""What verification found: a verdict and why, a log in the kernel's form, the rewritten code."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from workbench.bpf import isa
from workbench.bpf.isa import Op
from workbench.bpf.program import Program
from workbench.errors import VerificationError
from workbench.verifier.paths.recorder import Seen

if TYPE_CHECKING:
    from workbench.verifier.log.explain import Explanation


class Record(NamedTuple):
    """What only verifying again gives: the log, the states at each slot, the last path's slots."""

    log: str
    states: Mapping[int, tuple[Seen, ...]]
    path: tuple[int, ...]


class Asked(NamedTuple):
    """What was to be verified, and for which arena and Linux: the arguments of `verify`, in order.

    `release` is the name of a version of Linux ("6.18").
    """

    program: Program
    flags: int
    arena_pages: int | None
    log_level: int
    release: str


@dataclass(frozen=True)
class Report:
    """The verdict on a program.

    `pc` and `reason` say where and why it was refused (-1 and "" when accepted; -1 also for a
    refusal of the program as a whole); of a reason in several lines, the log has the others.
    `processed` counts the instructions that were followed, as Linux does. `xlated` holds read-only
    isa.INSTRUCTION records: rewritten when accepted, as decoded when refused. `log`, `states` and
    `path` are made when they are first asked for. `verify(*report.asked)` gives the same report.
    """

    ok: bool
    pc: int
    reason: str
    processed: int
    xlated: np.ndarray = field(repr=False)
    instructions: int
    arena_accesses: int
    casts: int
    record: Callable[[], Record] = field(repr=False, compare=False)
    asked: Asked = field(repr=False)

    @cached_property
    def _record(self) -> Record:
        return self.record()

    @property
    def log(self) -> str:
        """The log of the verification in the kernel's form, at the level asked for."""
        return self._record.log

    @property
    def states(self) -> Mapping[int, tuple[Seen, ...]]:
        """For each slot, every different state before it: registers, stack and frame number."""
        return self._record.states

    @property
    def path(self) -> tuple[int, ...]:
        """The slots of the path that was followed last: the one that led to the refusal."""
        return self._record.path

    def __str__(self) -> str:
        if not self.ok:
            where = f" at instruction {self.pc}" if self.pc >= 0 else ""
            return f"refused{where}: {self.reason}"
        counts = (
            _count(self.instructions, "instruction"),
            _count(self.arena_accesses, "arena access"),
            _count(self.casts, "cast"),
        )
        return "accepted: " + ", ".join(counts)

    def explain(self, program: Program | None = None) -> "Explanation":
        """What was refused and why, in plain words; with `program`, source lines come from it."""
        from workbench.verifier.log.explain import explain

        return explain(self, program)

    def raise_if_refused(self) -> None:
        """Raise VerificationError with position, reason and log unless the program was accepted."""
        if not self.ok:
            raise VerificationError(self.pc, self.reason, self.log)


def _count(number: int, noun: str) -> str:
    plural = noun + ("es" if noun.endswith("s") else "s")
    return f"{number} {noun if number == 1 else plural}"


def make(
    asked: Asked,
    error: VerificationError | None,
    processed: int,
    xlated: np.ndarray,
    record: Callable[[], Record],
) -> Report:
    """Report a program that was refused with an error, or that may run."""
    ops = asked.program.instructions["op"]
    arena = (xlated["op"] >= isa.FIRST_ARENA_OP) & (xlated["op"] != Op.INVALID)
    return Report(
        ok=error is None,
        pc=-1 if error is None else error.pc,
        reason="" if error is None else error.reason.splitlines()[-1],
        processed=processed,
        xlated=xlated,
        instructions=int(np.sum(ops != Op.INVALID)),
        arena_accesses=int(np.sum(arena)),
        casts=int(np.isin(ops, (int(Op.CAST_KERN), int(Op.CAST_USER))).sum()),
        record=record,
        asked=asked,
    )
