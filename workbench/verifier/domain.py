"""Abstract values: what is known of a register or a stack slot on every path to an instruction.

A value is a *set* of kinds, one bit each, because paths that meet may bring different kinds; a
fact must hold for every kind of the set. Where the set is one kind, a number may be known with it:
the constant of a scalar, the byte offset of a pointer, the target of a function.

A state is a tuple of frames, main first. Values, frames and states are never changed in place.
"""

from typing import NamedTuple

UNINIT, SCALAR, STACK, CTX, MEM, MAP, FUNC, ARENA = (1 << bit for bit in range(8))
POINTERS = STACK | CTX | MEM | MAP | FUNC
FRAME_BYTES = 512
MASK = (1 << 64) - 1

NAMES = {
    UNINIT: "uninitialised",
    SCALAR: "scalar",
    STACK: "fp",
    CTX: "ctx",
    MEM: "mem",
    MAP: "map_ptr",
    FUNC: "func",
    ARENA: "arena",
}
"""How the kernel's log calls a kind."""


class Value(NamedTuple):
    """A set of kinds; a number if one is known; the frame that a stack pointer leads into.

    `frame` is -1 without a stack pointer, and when different frames are possible.
    """

    kinds: int
    number: int | None = None
    frame: int = -1


UNSET = Value(UNINIT)
ANY_SCALAR = Value(SCALAR)
ARENA_POINTER = Value(ARENA)


class Frame(NamedTuple):
    """One function call: r0 to r10, and the stack slots that hold more than an unknown scalar.

    `slots` maps the offset of an aligned 8-byte slot from r10 to its value.
    """

    registers: tuple[Value, ...]
    slots: dict[int, Value]


State = tuple[Frame, ...]


def scalar(number: int) -> Value:
    """The value of a known constant, as 64 unsigned bits."""
    return Value(SCALAR, number & MASK)


def signed(number: int, bits: int) -> int:
    """Read the low bits of a number as two's complement."""
    sign = 1 << (bits - 1)
    return (number & (2 * sign - 1) ^ sign) - sign


def name_of(kinds: int) -> str:
    """Name the first kind of a set, as the kernel's log does."""
    return NAMES[kinds & -kinds]


def join(left: Value, right: Value) -> Value:
    """Return the smallest value that covers both."""
    if left == right:
        return left
    if left.kinds & right.kinds & STACK:
        frame = left.frame if left.frame == right.frame else -1
    else:
        frame = left.frame if left.kinds & STACK else right.frame
    same = left.kinds == right.kinds and left.frame == right.frame
    number = left.number if same and left.number == right.number else None
    return Value(left.kinds | right.kinds, number, frame)


def join_slots(left: dict[int, Value], right: dict[int, Value]) -> dict[int, Value]:
    """Join two stacks slot by slot; an absent slot is an unknown scalar."""
    if left == right:
        return left
    joined = {}
    for offset in left.keys() | right.keys():
        value = join(left.get(offset, ANY_SCALAR), right.get(offset, ANY_SCALAR))
        if value != ANY_SCALAR:
            joined[offset] = value
    return joined


def join_frames(left: Frame, right: Frame) -> Frame:
    """Join two activations of the same function."""
    if left == right:
        return left
    registers = left.registers
    if registers != right.registers:
        registers = tuple(map(join, registers, right.registers))
    return Frame(registers, join_slots(left.slots, right.slots))


def join_states(left: State, right: State) -> State:
    """Join two states with the same depth of calls."""
    if left == right:
        return left
    return tuple(map(join_frames, left, right))


def assign(state: State, register: int, value: Value) -> State:
    """Return the state after `register` of the current frame took a value."""
    registers, slots = state[-1]
    changed = (*registers[:register], value, *registers[register + 1 :])
    return (*state[:-1], Frame(changed, slots))


def store_slot(state: State, frame: int, offset: int, value: Value) -> State:
    """Return the state after the slot at `offset` (a multiple of 8) of a frame took a value."""
    registers, slots = state[frame]
    if slots.get(offset, ANY_SCALAR) == value:
        return state
    slots = dict(slots)
    slots[offset] = value
    if value == ANY_SCALAR:
        del slots[offset]
    return (*state[:frame], Frame(registers, slots), *state[frame + 1 :])


def forget_slots(state: State) -> State:
    """Return the state after a store to somewhere unknown: no slot keeps its value."""
    return tuple(Frame(registers, {}) for registers, _ in state)
