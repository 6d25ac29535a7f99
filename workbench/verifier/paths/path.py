"""One path through a program as it is followed, and what it asks of the exploration.

Checks read the path, transfers change it: they may fork it, make an identity, note which stack
slots are touched, and say that they relied on a number (`rely`), so that later paths are only
found equal if their number is no wider.
"""

from workbench.errors import VerificationError
from workbench.verifier.paths import precision
from workbench.verifier.paths.checkpoints import Checkpoints
from workbench.verifier.paths.equality import widen
from workbench.verifier.paths.liveness import LiveStack
from workbench.verifier.paths.subject import Subject
from workbench.verifier.values.domain import (
    EVERYTHING,
    SCALAR,
    WITH_DELTA,
    Frame,
    State,
    Value,
    new_frame,
)

MAX_FORKS = 8192  # BPF_COMPLEXITY_LIMIT_JMP_SEQ
Route = tuple[int, "Route"] | None  # type: ignore[misc]
"""The slots of a path, newest first, each with those before it."""


class Path:
    """The path being followed: its state, its slot, and the forks that wait.

    `subject` is what does not change; its `setting` is at hand for the rules. `frame` and
    `registers` are those of the function that runs. Afterwards `accesses` has per slot the kinds of
    pointers used, `arithmetic` the slots of 64-bit operations that saw an arena pointer and `plain`
    of those that did not, `depths` the stack bytes per function, `called` the global functions that
    were called, `loops` the only callback of each call of bpf_loop that Linux writes out in place
    (-1 for a call that it does not). `throws` is set by bpf_throw.
    """

    def __init__(self, subject: Subject, mixed: frozenset[int] = frozenset()) -> None:
        self.subject, self.setting, self.mixed = subject, subject.setting, mixed
        self.live = LiveStack(subject.flow, subject.log)
        self.checkpoints = Checkpoints(subject, self.live)
        self.forks: list[tuple[State, int, int, int, Route]] = []
        self.ids = 0
        self.accesses: dict[int, int] = {}
        self.arithmetic: set[int] = set()
        self.plain: set[int] = set()
        self.depths: dict[int, int] = {}
        self.called: set[int] = set()
        self.throws = False
        self.loops: dict[int, int] = {}
        self.pc, self.previous = 0, -1
        self.show_state, self.shown = False, EVERYTHING
        self.route: Route = None
        self.touched = 0
        self.asked: Value | None = None
        self.begin(State([new_frame(0, -1, 0)]))

    def begin(self, state: State) -> None:
        """Follow another state."""
        self.state = state
        self.switch()

    def switch(self) -> None:
        """Look at the innermost frame, which has changed."""
        self.frame: Frame = self.state.frames[-1]
        self.registers: list[Value] = self.frame.registers

    def new_id(self) -> int:
        """An identity that no other value has."""
        self.ids += 1
        return self.ids

    def fork(self, pc: int) -> State:
        """Have a copy of the state explored later, from slot `pc`, and return that copy.

        Raises VerificationError where more than MAX_FORKS wait.
        """
        state = self.state.copy()
        position = self.subject.log.position if self.subject.log else 0
        self.forks.append((state, pc, self.pc, position, self.route))
        if len(self.forks) > MAX_FORKS:
            many = f"The sequence of {len(self.forks)} jumps is too complex."
            raise VerificationError(self.pc, many)
        if state.parent is not None:
            state.parent.branches += 1
        return state

    def rely(self, register: int) -> None:
        """The number in a register mattered."""
        if self.registers[register].kind == SCALAR:
            precision.mark(
                self.subject, self.state, registers={len(self.state.frames) - 1: 1 << register}
            )

    def rely_slot(self, frame: int, slot: int) -> None:
        """The number in a stack slot mattered."""
        precision.mark(self.subject, self.state, slots={frame: 1 << slot})

    def name_scalar(self, register: int) -> Value:
        """Give an unknown scalar an identity before it is copied, so that copies stay linked."""
        value = self.registers[register]
        if value.kind != SCALAR:
            return value
        if value.id & WITH_DELTA:
            value = value._replace(id=0, off=0)
        if not value.id and value.number.mask:
            value = value._replace(id=self.new_id())
        self.registers[register] = value
        return value

    def grow(self, frame: Frame, lowest: int) -> None:
        """A frame's stack reaches down to an offset."""
        count = (-lowest + 7) // 8
        if len(frame.stack) < count:
            frame.grow(count)
            self.depths[frame.start] = max(self.depths.get(frame.start, 0), 8 * count)

    def touch(self, slot: int) -> None:
        """A stack slot was looked at; the log shows it."""
        self.touched |= 1 << slot

    def note_access(self, base: int) -> None:
        """The present instruction uses the kind of pointer that a register holds."""
        kinds = self.accesses.get(self.pc, 0)
        self.accesses[self.pc] = kinds | 1 << self.registers[base].kind

    def function_number(self, start: int) -> int:
        """How Linux numbers the function that begins at a slot."""
        return self.subject.function_number(start)

    def fork_loop(self, later: int, now: int) -> int:
        """At a may_goto: go on at `now`, and at `later` with counters widened."""
        earlier = self.earlier(self.state.parent, self.pc)
        other = self.fork(later)
        other.may_goto += 1
        if earlier is not None:
            widen(earlier, other)
        return now

    def earlier(self, state: State | None, pc: int) -> State | None:
        """The nearest checkpoint at a slot that the path to a state of this path went through."""
        if state is None:
            return None
        return self.checkpoints.earlier(state, pc, self.frame.callsite)
