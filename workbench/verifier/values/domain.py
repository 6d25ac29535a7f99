"""Abstract values and states: what is known of registers and stack on one path.

A value has a kind, what is known of its number (of a pointer: of the variable part of its offset)
and, for pointers, a fixed offset. Values and slots are immutable and shared; a state is copied
where a path forks. Source: struct bpf_reg_state in include/linux/bpf_verifier.h.
"""

from functools import lru_cache
from typing import Any, NamedTuple

from workbench.verifier.values import numbers
from workbench.verifier.values.numbers import Number

UNSET, SCALAR, CTX, STACK, MAP, MAP_VALUE, MAP_KEY = range(7)
PACKET, PACKET_META, PACKET_END, MEM, RDONLY_MEM, RECORD, FUNC, ARENA = range(7, 15)
OR_NULL = 1 << 5
"""A pointer of the kind, or NULL: `MAP_VALUE | OR_NULL`."""

NAMES = {
    UNSET: "?",
    SCALAR: "scalar",
    CTX: "ctx",
    STACK: "fp",
    MAP: "map_ptr",
    MAP_VALUE: "map_value",
    MAP_KEY: "map_key",
    PACKET: "pkt",
    PACKET_META: "pkt_meta",
    PACKET_END: "pkt_end",
    MEM: "mem",
    RDONLY_MEM: "rdonly_mem",
    RECORD: "ringbuf_mem",
    FUNC: "func",
    ARENA: "arena",
}
NAMES |= {kind | OR_NULL: name + "_or_null" for kind, name in NAMES.items()}
"""How the kernel's log calls a kind."""

IN_MAP = frozenset({MAP, MAP_VALUE, MAP_KEY, MAP_VALUE | OR_NULL})
PACKETS = frozenset({PACKET, PACKET_META})
MEMORIES = frozenset({MEM, RDONLY_MEM, RECORD})
"""Kinds whose `about` is a map, the readable range of a packet, a size in bytes."""

FRAME_BYTES = 512  # MAX_BPF_STACK
MAX_OFFSET = 1 << 29  # BPF_MAX_VAR_OFF: how far a pointer moves
AT_END, BEYOND_END = -1, -2
"""Ranges of packet pointers that are known to reach the packet's end, or to pass it."""
DELTA_64, DELTA_32 = 1 << 31, 1 << 30
WITH_DELTA = DELTA_64 | DELTA_32
"""Bits of an identity: the number is another's plus `off`, added in 64 or in 32 bits."""


EVERYTHING = 0x7FF, -1
"""Registers and slots that the log shows next, a bit each: all."""


class Value(NamedTuple):
    """What is known of a register.

    `number` is the number of a scalar or the variable offset of a pointer, `off` a pointer's
    fixed offset (of a linked scalar: its distance). Equal `id`s other than 0 mean equal
    values. `about` is a map, a packet range, a size, a frame's number or a function's first slot;
    `reference` the identity of what must be given back.
    """

    kind: int
    number: Number = numbers.ZERO
    off: int = 0
    id: int = 0
    about: Any = None
    reference: int = 0


NOTHING = Value(UNSET, numbers.UNKNOWN)
ANY_SCALAR = Value(SCALAR, numbers.UNKNOWN)
ARENA_POINTER = Value(ARENA, numbers.UNKNOWN)


@lru_cache(maxsize=numbers.FEW)
def scalar(number: int) -> Value:
    """The value of a known constant."""
    return Value(SCALAR, numbers.constant(number))


ZERO = scalar(0)


def is_null(value: Value) -> bool:
    """Whether a value is the number 0."""
    return value.kind == SCALAR and not value.number.mask and not value.number.value


class Slot(NamedTuple):
    """Eight bytes of stack, from the highest address down, a letter each.

    r: part of the spilled `value`, m: something, 0: zero, ?: never written, i: iterator,
    f: interrupt flag.
    """

    types: str
    value: Value | None = None

    @property
    def spilled(self) -> bool:
        """Whether a register, or its low part, was stored here."""
        return self.types[7] == "r"

    @property
    def spilled_scalar(self) -> bool:
        """Whether it was a number."""
        return self.types[7] == "r" and self.value is not None and self.value.kind == SCALAR


EMPTY = Slot("????????")


class Iterator(NamedTuple):
    """The state of an open-coded iterator in its first slot: "active" or "drained"."""

    reference: int
    state: str
    depth: int


class Reference(NamedTuple):
    """Something acquired at slot `pc` that must be given back: "pointer", "lock" or "irq"."""

    kind: str
    id: int
    pc: int
    about: Any = None


class Frame:
    """One function call: r0 to r10 and its stack.

    `callsite` is the slot of the call (-1 of main), `start` the function's first slot, `callback`
    the range of numbers that a callback may return, `depth` how often a callback was entered.
    """

    __slots__ = ("callback", "callsite", "depth", "number", "registers", "stack", "start")

    def __init__(self, registers: list[Value], number: int, callsite: int, start: int) -> None:
        self.registers = registers
        self.stack: tuple[Slot, ...] = ()
        self.number, self.callsite, self.start = number, callsite, start
        self.callback: tuple[int, int] | None = None
        self.depth = 0

    def copy(self) -> "Frame":
        """A frame of its own with the same content."""
        frame = Frame(self.registers[:], self.number, self.callsite, self.start)
        frame.stack, frame.callback, frame.depth = self.stack, self.callback, self.depth
        return frame

    def put(self, at: int, slot: Slot) -> None:
        """Replace a slot of the stack; it exists."""
        self.stack = (*self.stack[:at], slot, *self.stack[at + 1 :])

    def grow(self, count: int) -> None:
        """Make the stack hold at least so many slots."""
        if len(self.stack) < count:
            self.stack += (EMPTY,) * (count - len(self.stack))


def stack_pointer(frame: int) -> Value:
    """r10 of a frame."""
    return Value(STACK, numbers.ZERO, about=frame)


def new_frame(number: int, callsite: int, start: int) -> Frame:
    """A frame in which only r10 is set."""
    return Frame([NOTHING] * 10 + [stack_pointer(number)], number, callsite, start)


class Locks(NamedTuple):
    """Sections that a path is in: what is acquired, in order, and what is switched off."""

    references: tuple[Reference, ...] = ()
    preempt: int = 0
    rcu: bool = False

    @property
    def lock(self) -> Reference | None:
        """The spin lock that is held."""
        return next((r for r in reversed(self.references) if r.kind == "lock"), None)

    @property
    def irq(self) -> Reference | None:
        """The newest section without interrupts."""
        return next((r for r in reversed(self.references) if r.kind == "irq"), None)


UNLOCKED = Locks()


class Entry:
    """A step of a path that is not simply the next instruction, or that touched the stack.

    `slot` is the (frame, slot) that a register was stored to or loaded from, `linked` the registers
    and slots that learned of each other, `pointers` has bit 1 for a stack pointer in dst, 2 in src.
    """

    __slots__ = ("linked", "pc", "pointers", "previous", "slot")

    def __init__(self, pc: int, previous: int) -> None:
        self.pc, self.previous = pc, previous
        self.slot: tuple[int, int] | None = None
        self.linked: tuple[tuple[int, int, bool], ...] = ()
        self.pointers = 0


class State:
    """All that is known on one path, and how the path came here since its last checkpoint.

    `pc` is the slot that it is at, `last` the one before, `entry` its note of the present
    instruction, if that is noted.

    A checkpoint is a state that later ones are compared with: `branches` counts the paths from it
    that are not finished, `precise` has per frame the registers and slots whose exact numbers
    mattered to some path from it, `sites` and `visit` say which calls and which loop it is in.
    """

    __slots__ = (
        "branches",
        "cleaned",
        "depth",
        "entry",
        "evicted",
        "first",
        "frames",
        "history",
        "hits",
        "last",
        "locks",
        "may_goto",
        "misses",
        "parent",
        "pc",
        "precise",
        "sites",
        "unrolled",
        "visit",
        "walked",
    )  # fmt: skip

    def __init__(self, frames: list[Frame], locks: Locks = UNLOCKED) -> None:
        self.frames, self.locks = frames, locks
        self.parent: State | None = None
        self.pc = self.first = 0
        self.last = -1
        self.history: list[Entry] = []
        self.entry: Entry | None = None
        self.branches, self.depth, self.may_goto, self.unrolled = 1, 0, 0, 0
        self.precise: list[list[int]] = []
        self.hits = self.misses = 0
        self.cleaned = self.evicted = False
        self.sites: tuple[int, ...] = ()
        self.visit: tuple[int, ...] | None = None
        self.walked: dict[tuple[int, int, int], tuple[int, ...]] = {}

    def copy(self) -> "State":
        """A path of its own with the same knowledge and the same past."""
        state = State([frame.copy() for frame in self.frames], self.locks)
        state.parent, state.pc, state.first, state.last = (
            self.parent, self.pc, self.first, self.last,
        )  # fmt: skip
        state.history = self.history[:]
        state.depth, state.may_goto, state.unrolled = self.depth, self.may_goto, self.unrolled
        return state

    def note(self) -> Entry:
        """The entry of the present instruction in the path's past; made when first asked for."""
        if self.entry is None:
            self.entry = Entry(self.pc, self.last)
            self.history.append(self.entry)
        return self.entry

    def iterator_at(self, pointer: Value) -> Iterator | None:
        """The iterator that a stack pointer leads to, if there is one."""
        if pointer.kind != STACK or pointer.number.mask:
            return None
        at = (-(pointer.off + pointer.number.smin) - 1) // 8
        stack = self.frames[pointer.about].stack
        value = stack[at].value if 0 <= at < len(stack) and stack[at].types[0] == "i" else None
        return value.about if value is not None and isinstance(value.about, Iterator) else None

    def call_sites(self) -> tuple[int, ...]:
        """Where each frame was called."""
        return tuple(frame.callsite for frame in self.frames)

    def slot_of(self, frame: int) -> int:
        """The instruction that a frame is at."""
        return self.pc if frame == len(self.frames) - 1 else self.frames[frame + 1].callsite


def each_value(state: State, change: Any) -> None:
    """Replace every register and spilled value by what `change` makes of it."""
    for frame in state.frames:
        for n, value in enumerate(frame.registers):
            changed = change(value)
            if changed is not value:
                frame.registers[n] = changed
        for n, slot in enumerate(frame.stack):
            if slot.types[7] == "r" and slot.value is not None:
                changed = change(slot.value)
                if changed is not slot.value:
                    frame.put(n, slot._replace(value=changed))
