"""One path through a program as it is followed, and what it asks of the exploration.

Checks read the path, transfers change it: they may fork it, make an identity, note which stack
slots are touched, and say that they relied on a number (`rely`), so that later paths are only
found equal if their number is no wider.
"""

from collections.abc import Sequence

from workbench.errors import VerificationError
from workbench.verifier.log.writer import Log
from workbench.verifier.paths import precision
from workbench.verifier.paths.checkpoints import Checkpoints
from workbench.verifier.paths.equality import widen
from workbench.verifier.paths.flow import Flow
from workbench.verifier.paths.liveness import LiveStack
from workbench.verifier.rules.facts import Instruction, Setting
from workbench.verifier.values.domain import (
    EVERYTHING,
    SCALAR,
    STACK,
    WITH_DELTA,
    Entry,
    Frame,
    Iterator,
    State,
    Value,
    new_frame,
)

MAX_FORKS = 8192  # BPF_COMPLEXITY_LIMIT_JMP_SEQ
Trail = tuple[int, "Trail"] | None  # type: ignore[misc]


class Path:
    """The path being followed: its state, its slot, and the forks that wait.

    `frame` and `registers` are those of the function that runs. Afterwards `accesses` has per slot
    the kinds of pointers used, `arithmetic` the slots of 64-bit operations that saw an arena
    pointer and `plain` of those that did not, `depths` the stack bytes per function, `called` the
    global functions that were called, `loops` the only callback of each call of bpf_loop that
    Linux writes out in place (-1 for a call that it does not). `throws` is set by bpf_throw.
    """

    def __init__(
        self, program: Sequence[Instruction], setting: Setting, flow: Flow, log: Log | None
    ) -> None:
        self.program, self.setting, self.flow, self.log = program, setting, flow, log
        self.matters = [precision.registers_that_matter(i) for i in program]
        self.live = LiveStack(flow, log)
        self.forks: list[tuple[State, int, int, int, Trail]] = []
        self.ids = 0
        self.accesses: dict[int, int] = {}
        self.arithmetic: set[int] = set()
        self.plain: set[int] = set()
        self.mixed: frozenset[int] = frozenset()
        self.depths: dict[int, int] = {}
        self.called: set[int] = set()
        self.throws = False
        self.loops: dict[int, int] = {}
        self.pc, self.previous, self.came = 0, -1, -1
        self.entry: Entry | None = None
        self.show_state, self.shown = False, EVERYTHING
        self.trail: Trail = None
        self.touched = 0
        self.asked: Value | None = None
        self.checkpoints = Checkpoints(self)
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
        """Have a copy of the state explored later, from slot `pc`."""
        state = self.state.copy()
        position = self.log.position if self.log else 0
        self.forks.append((state, pc, self.pc, position, self.trail))
        if len(self.forks) > MAX_FORKS:
            many = f"The sequence of {len(self.forks)} jumps is too complex."
            raise VerificationError(self.pc, many)
        if state.parent is not None:
            state.parent.branches += 1
        return state

    def note(self) -> Entry:
        """The entry of the present instruction in the path's past."""
        if self.entry is None:
            self.entry = Entry(self.pc, self.came)
            self.state.history.append(self.entry)
        return self.entry

    def rely(self, register: int) -> None:
        """The number in a register mattered."""
        if self.registers[register].kind == SCALAR:
            precision.mark(self, self.state, registers={len(self.state.frames) - 1: 1 << register})

    def rely_slot(self, frame: int, slot: int) -> None:
        """The number in a stack slot mattered."""
        precision.mark(self, self.state, slots={frame: 1 << slot})

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

    def is_global(self, pc: int) -> bool:
        """Whether the function at a slot is verified on its own."""
        function = self.setting.functions.get(pc)
        return function is not None and function.is_global

    def fork_loop(self, later: int, now: int) -> int:
        """At a may_goto: go on at `now`, and at `later` with counters widened."""
        earlier = self._earlier(self.state.parent)
        other = self.fork(later)
        other.may_goto += 1
        if earlier is not None:
            widen(earlier, other)
        return now

    def _earlier(self, state: State | None) -> State | None:
        return self.checkpoints.earlier(state, self.pc) if state is not None else None

    def iterator_at(self, state: State, pointer: Value) -> Iterator | None:
        """The iterator that a stack pointer leads to, if there is one."""
        if pointer.kind != STACK or pointer.number.mask:
            return None
        at = (-(pointer.off + pointer.number.smin) - 1) // 8
        stack = state.frames[pointer.about].stack
        value = stack[at].value if 0 <= at < len(stack) and stack[at].types[0] == "i" else None
        return value.about if value is not None and isinstance(value.about, Iterator) else None
