"""What an instruction does to a state; jumps, calls and exits only move control (see `explore`).

The ALU table of arena pointers: any binary operation of either width with an arena operand gives
an arena pointer; 32-bit moves, sign extensions, negation and byte swaps give scalars.
"""

import operator
from collections.abc import Callable

from workbench import isa
from workbench.isa import Op
from workbench.verifier import domain, facts
from workbench.verifier.domain import (
    ANY_SCALAR,
    ARENA,
    ARENA_POINTER,
    CTX,
    FUNC,
    MAP,
    MASK,
    MEM,
    POINTERS,
    SCALAR,
    STACK,
    UNSET,
    Frame,
    State,
    Value,
    assign,
    scalar,
    signed,
)
from workbench.verifier.facts import Instruction, Setting

CALLER_SAVED = (UNSET,) * 5
WORD = (1 << 32) - 1


def transfer(i: Instruction, pc: int, state: State, setting: Setting) -> State:
    """Return the state after the instruction at slot `pc`, whose facts hold in `state`."""
    return TRANSFERS[i.op](i, pc, state, setting)


def _shift_right_signed(bits: int) -> Callable[[int, int], int]:
    return lambda a, b: signed(a, bits) >> b


_FOLDS: dict[int, Callable[[int, int], int]] = {}
for _bits in (64, 32):
    _FOLDS |= {
        int(Op[f"ADD{_bits}"]): operator.add,
        int(Op[f"SUB{_bits}"]): operator.sub,
        int(Op[f"MUL{_bits}"]): operator.mul,
        int(Op[f"OR{_bits}"]): operator.or_,
        int(Op[f"AND{_bits}"]): operator.and_,
        int(Op[f"XOR{_bits}"]): operator.xor,
        int(Op[f"LSH{_bits}"]): operator.lshift,
        int(Op[f"RSH{_bits}"]): operator.rshift,
        int(Op[f"ARSH{_bits}"]): _shift_right_signed(_bits),
    }
"""Operations on two constants, before truncation.

Division, and shifts by the width or more, are left unknown as in Linux 6.18.
"""
_SHIFTS = frozenset(int(op) for op in facts.SHIFTS)


def fold(op: int, left: int, right: int) -> Value:
    """Compute a binary operation on constants of 64 unsigned bits."""
    function = _FOLDS.get(op)
    mask = WORD if op >= Op.ADD32 else MASK
    right &= mask
    if function is None or (op in _SHIFTS and right >= facts.SHIFTS[Op(op)]):
        return ANY_SCALAR
    return Value(SCALAR, function(left & mask, right) & mask)


def operand(i: Instruction, registers: tuple[Value, ...]) -> Value:
    """The second operand of arithmetic, a comparison or a store."""
    return scalar(i.imm) if i.src == isa.ZERO else registers[i.src]


def _binary(i: Instruction, pc: int, state: State, setting: Setting) -> State:
    registers = state[-1].registers
    return assign(state, i.dst, binary(i.op, registers[i.dst], operand(i, registers)))


def binary(op: int, left: Value, right: Value) -> Value:
    """Apply the ALU table to two values."""
    if left.kinds == SCALAR == right.kinds:
        if left.number is None or right.number is None:
            return ANY_SCALAR
        return fold(op, left.number, right.number)
    arena = (left.kinds | right.kinds) & ARENA
    first, second = left.kinds & ~ARENA, right.kinds & ~ARENA
    if not first or not second:
        return ARENA_POINTER
    if arena:  # some paths bring arena pointers, the others something without a known number
        return Value(_kinds_without_arena(op, first, second) | ARENA)
    return _move_pointer(op, left, right)


def _kinds_without_arena(op: int, first: int, second: int) -> int:
    if op in (Op.ADD64, Op.SUB64) and not (first & POINTERS and second & POINTERS):
        return first | second if (first | second) == SCALAR else (first | second) & ~SCALAR
    return SCALAR


def _move_pointer(op: int, left: Value, right: Value) -> Value:
    """A pointer plus or minus a number stays in its memory; other operations make numbers."""
    if op == Op.ADD64 and right.kinds & POINTERS:
        left, right = right, left
    if op not in (Op.ADD64, Op.SUB64) or right.kinds & POINTERS:
        return ANY_SCALAR
    if left.kinds == MAP:
        return left if right.number == 0 else ANY_SCALAR
    if left.number is None or right.number is None:
        return Value(left.kinds | right.kinds & ~SCALAR, None, left.frame)
    distance = signed(right.number, 64)
    number = left.number + (distance if op == Op.ADD64 else -distance)
    return Value(left.kinds, number, left.frame)


def _move(i: Instruction, pc: int, state: State, setting: Setting) -> State:
    return assign(state, i.dst, operand(i, state[-1].registers))


_MOVES = {
    int(Op.MOV32): (32, 32, False),
    int(Op.MOVSX8_64): (8, 64, True),
    int(Op.MOVSX16_64): (16, 64, True),
    int(Op.MOVSX32_64): (32, 64, True),
    int(Op.MOVSX8_32): (8, 32, True),
    int(Op.MOVSX16_32): (16, 32, True),
}
"""Moves that keep only part of a register: bits read, bits written, whether the sign extends."""


def _narrow_move(i: Instruction, pc: int, state: State, setting: Setting) -> State:
    value = operand(i, state[-1].registers)
    if value.kinds != SCALAR or value.number is None:
        return assign(state, i.dst, ANY_SCALAR)
    read, written, extends = _MOVES[i.op]
    number = signed(value.number, read) if extends else value.number
    return assign(state, i.dst, scalar(number & ((1 << written) - 1)))


def _negate(i: Instruction, pc: int, state: State, setting: Setting) -> State:
    value = state[-1].registers[i.dst]
    if value.kinds != SCALAR or value.number is None:
        return assign(state, i.dst, ANY_SCALAR)
    return assign(state, i.dst, scalar(-value.number & (WORD if i.op == Op.NEG32 else MASK)))


def _unknown(i: Instruction, pc: int, state: State, setting: Setting) -> State:
    return assign(state, i.dst, ANY_SCALAR)


def _cast_kern(i: Instruction, pc: int, state: State, setting: Setting) -> State:
    return assign(state, i.dst, ARENA_POINTER)


def _nothing(i: Instruction, pc: int, state: State, setting: Setting) -> State:
    return state


def _load(i: Instruction, pc: int, state: State, setting: Setting) -> State:
    return assign(state, i.dst, _loaded(i, state, state[-1].registers[i.src]))


def _loaded(i: Instruction, state: State, base: Value) -> Value:
    """Only a whole stack slot keeps what was spilled into it."""
    if base.kinds != STACK or base.number is None or facts.BYTES[Op(i.op)] < 8 or base.frame < 0:
        return ANY_SCALAR
    return state[base.frame].slots.get(base.number + i.off, ANY_SCALAR)


def _store(i: Instruction, pc: int, state: State, setting: Setting) -> State:
    registers = state[-1].registers
    value = operand(i, registers) if facts.BYTES[Op(i.op)] == 8 else ANY_SCALAR
    return _stored(i, state, registers[i.dst], value)


def _stored(i: Instruction, state: State, base: Value, value: Value) -> State:
    """A store through a pointer that may lead to any stack slot forgets them all."""
    if base.kinds != STACK:
        harmless = not base.kinds & ~(ARENA | CTX | MEM)
        return state if harmless else domain.forget_slots(state)
    if base.number is None or base.frame < 0:
        return domain.forget_slots(state)
    offset = base.number + i.off
    if offset & 7 and facts.BYTES[Op(i.op)] == 8:  # reaches two slots (type raw only)
        state = domain.store_slot(state, base.frame, (offset & ~7) + 8, ANY_SCALAR)
        value = ANY_SCALAR
    return domain.store_slot(state, base.frame, offset & ~7, value)


def _update(i: Instruction, pc: int, state: State, setting: Setting) -> State:
    base = state[-1].registers[i.dst]
    loaded = _loaded(i, state, base)
    state = _stored(i, state, base, ANY_SCALAR)
    if i.op not in facts.FETCHES:
        return state
    result = 0 if i.op in (Op.CMPXCHG32, Op.CMPXCHG64) else i.src
    return assign(state, result, loaded)


def _wide(i: Instruction, pc: int, state: State, setting: Setting) -> State:
    if i.op == Op.LD_IMM64:
        return assign(state, i.dst, scalar(i.imm))
    if i.op in (Op.LD_MAP_FD, Op.LD_MAP_IDX):
        return assign(state, i.dst, Value(MAP))
    if i.op == Op.LD_FUNC:
        return assign(state, i.dst, Value(FUNC, pc + 1 + i.off))
    return assign(state, i.dst, ANY_SCALAR)  # an address in the arena is a number to the verifier


def _call(i: Instruction, pc: int, state: State, setting: Setting) -> State:
    """A helper, kfunc or packet load answers in r0; Linux forgets r1 to r5, `raw` keeps them."""
    if setting.raw:
        return assign(state, 0, ANY_SCALAR)
    _, name = setting.names.get(pc, ("", ""))
    answer = UNSET if name in facts.NO_RESULT else ANY_SCALAR
    registers, slots = state[-1]
    return (*state[:-1], Frame((answer, *CALLER_SAVED, *registers[6:]), slots))


TRANSFERS = {int(op): _nothing for op in Op}
for _ops, _function in (
    (facts.ALU_BINARY, _binary),
    (facts.UNARY, _unknown),
    ((Op.NEG64, Op.NEG32), _negate),
    (facts.MOVES, _narrow_move),
    ((Op.MOV64,), _move),
    ((Op.CAST_KERN,), _cast_kern),
    ((Op.CAST_USER,), _unknown),
    (facts.LOADS, _load),
    (facts.STORES, _store),
    (facts.UPDATES, _update),
    (isa.WIDE, _wide),
    (facts.PACKET_LOADS, _call),
    ((Op.CALL_HELPER, Op.CALL_KFUNC), _call),
):
    TRANSFERS |= {int(op): _function for op in _ops}

_COMPARISONS: dict[str, Callable[[int, int], bool]] = {
    "JEQ": operator.eq,
    "JNE": operator.ne,
    "JGT": operator.gt,
    "JGE": operator.ge,
    "JLT": operator.lt,
    "JLE": operator.le,
    "JSET": lambda a, b: bool(a & b),
    "JSGT": operator.gt,
    "JSGE": operator.ge,
    "JSLT": operator.lt,
    "JSLE": operator.le,
}


def jumps(i: Instruction, state: State) -> bool | None:
    """Whether a conditional jump is taken; None when both ways are possible."""
    registers = state[-1].registers
    left, right = registers[i.dst], operand(i, registers)
    if left.kinds != SCALAR or right.kinds != SCALAR or left.number is None or right.number is None:
        return None
    name = Op(i.op).name
    bits = int(name[-2:])
    mask = (1 << bits) - 1
    a, b = left.number & mask, right.number & mask
    if name.startswith("JS") and name[:4] != "JSET":
        a, b = signed(a, bits), signed(b, bits)
    return _COMPARISONS[name[:-2]](a, b)
