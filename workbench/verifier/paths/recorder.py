"""Watches an exploration: writes the log, and keeps the states seen at each instruction."""

from typing import NamedTuple

from workbench.bpf.isa import Op
from workbench.bpf.program import Program
from workbench.verifier.log.wording import frame_text
from workbench.verifier.log.writer import Log
from workbench.verifier.paths.path import Path, Route
from workbench.verifier.rules import facts
from workbench.verifier.values.domain import Frame, Locks, Slot, Value

MAX_STATES = 200_000  # bounds the memory of a long verification's states; not measured
NOTHING = 0, 0


class Seen(NamedTuple):
    """What was known in the innermost frame before an instruction ran.

    `registers` are r0 to r10, `stack` its slots from r10 downwards, `frame` its number, 0 being
    main's. As text it is in the kernel's form.
    """

    registers: tuple[Value, ...]
    stack: tuple[Slot, ...]
    frame: int
    locks: Locks
    callback: bool = False

    def __str__(self) -> str:
        frame = Frame(list(self.registers), self.frame, -1, 0)
        frame.stack = self.stack
        frame.callback = (0, 1) if self.callback else None
        return frame_text(frame, self.locks).strip()


class Recorder:
    """Keeps the log and the states.

    `dropped` counts states that were not kept because there were too many.
    """

    def __init__(self, program: Program, level: int) -> None:
        self.log = Log(program, level)
        self.states: dict[int, dict[Seen, None]] = {}
        self.dropped = self._kept = 0

    def clear(self) -> None:
        """Begin again."""
        self.log.clear()
        self.states.clear()
        self.dropped = self._kept = 0

    def before(self, path: Path) -> None:
        """An instruction is about to be looked at."""
        pc, state, log = path.pc, path.state, self.log
        if path.show_state and log.level > 1:
            log.whole(f"\nfrom {state.last} to {pc}:", state)
        path.show_state = False
        if path.shown != NOTHING:
            log.state(pc, state, *path.shown)
        path.shown = NOTHING
        log.instruction(pc)
        path.route = (pc, path.route)
        path.touched = 0
        self._keep(path)

    def _keep(self, path: Path) -> None:
        frame = path.frame
        seen = Seen(
            tuple(frame.registers), frame.stack, frame.number, path.state.locks,
            frame.callback is not None,
        )  # fmt: skip
        states = self.states.setdefault(path.pc, {})
        if seen in states:
            return
        if self._kept >= MAX_STATES:
            self.dropped += 1
            return
        self._kept += 1
        states[seen] = None

    def after(self, path: Path, op: int, registers: int) -> None:
        """An instruction was followed: note what the log shows of it."""
        if op in facts.JUMPS:
            self.log.state(path.pc, path.state, registers, path.touched)
        elif op not in (Op.EXIT, Op.CALL_LOCAL):
            path.shown = registers, path.touched

    def safe(self, path: Path) -> None:
        """The path ended in a checkpoint."""
        state, pc = path.state, path.pc
        text = f"\nfrom {state.last} to {pc}: safe" if path.show_state else f"{pc}: safe"
        path.show_state = False
        self.log.say(text)


def slots_of(route: Route) -> list[int]:
    """The slots of a path from its beginning."""
    slots = []
    while route is not None:
        pc, route = route
        slots.append(pc)
    return slots[::-1]
