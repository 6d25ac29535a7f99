"""What an instruction does to a path; calls and exits are in `calls`.

A transfer changes the state of the path and returns the slot to go on at, or None for the next.
The ALU table of arena pointers: any binary operation of either width with an arena operand gives
an arena pointer; 32-bit moves, sign extensions, negation and byte swaps give scalars.
"""

from collections.abc import Callable

from workbench.bpf import isa
from workbench.bpf.declarations import MapDefinition
from workbench.bpf.isa import Op
from workbench.bpf.program_types import PROGRAM_TYPES
from workbench.verifier.paths import stack
from workbench.verifier.paths.branching import branch
from workbench.verifier.paths.path import Path
from workbench.verifier.rules import facts
from workbench.verifier.rules.facts import Instruction
from workbench.verifier.values import branches, numbers
from workbench.verifier.values.arithmetic import byte_order, compute
from workbench.verifier.values.domain import (
    ANY_SCALAR,
    ARENA,
    ARENA_POINTER,
    CTX,
    DELTA_32,
    DELTA_64,
    FUNC,
    MAP,
    MAP_VALUE,
    NOTHING,
    PACKET,
    PACKET_END,
    PACKET_META,
    PACKETS,
    SCALAR,
    STACK,
    WITH_DELTA,
    Value,
    scalar,
)
from workbench.verifier.values.numbers import S32_MAX, S32_MIN, Number
from workbench.verifier.values.pointers import move

Transfer = Callable[[Instruction, Path], int | None]
_TO_32_BITS = Op.ADD32 - Op.ADD64
_SUMS = {
    int(Op.ADD64): (1, 64, DELTA_64),
    int(Op.SUB64): (-1, 64, DELTA_64),
    int(Op.ADD32): (1, 32, DELTA_32),
    int(Op.SUB32): (-1, 32, DELTA_32),
}
"""Operations that keep a number linked to what it was copied from."""
_MASKS = frozenset({int(Op.AND64), int(Op.OR64), int(Op.AND32), int(Op.OR32)})
_LAST_64 = int(Op.ARSH64)


def operand(i: Instruction, path: Path) -> Value:
    """The second operand of arithmetic, a comparison or a store."""
    return scalar(i.imm) if i.src == isa.ZERO else path.registers[i.src]


def _binary(i: Instruction, path: Path) -> None:
    registers = path.registers
    left, right = registers[i.dst], operand(i, path)
    if left.kind == SCALAR == right.kind:
        registers[i.dst] = _numbers(i, path, left, right)
    elif ARENA in (left.kind, right.kind):
        registers[i.dst] = ARENA_POINTER
        if i.op <= _LAST_64:
            path.arithmetic.add(path.pc)
    else:
        registers[i.dst] = _pointer(i, path, left, right)


def _numbers(i: Instruction, path: Path, left: Value, right: Value) -> Value:
    """Two numbers; one that another is the copy of stays linked to it while a constant is added."""
    op = i.op
    if op in _MASKS and right.number.known:
        left = _split(i, path, left)
    if op <= _LAST_64:
        path.plain.add(path.pc)
        if path.pc in path.mixed:  # runs in 32 bits, as arena pointers come here too
            return Value(SCALAR, compute(op + _TO_32_BITS, left.number, right.number))
    number = compute(op, left.number, right.number)
    if left.id and op in _SUMS and not left.id & WITH_DELTA:
        sign, bits, link = _SUMS[op]
        delta = _known(right.number, bits)
        if bits == 32 and left.number.width > 32:
            delta = None
        if delta is not None and S32_MIN <= sign * delta <= S32_MAX:
            return Value(SCALAR, number, sign * delta, left.id | link)
    return Value(SCALAR, number)


def _split(i: Instruction, path: Path, left: Value) -> Value:
    """All ones or all zeros, before a mask: a path for each. Source: maybe_fork_scalars."""
    n = left.number
    if (n.smin, n.smax) == (-1, 0):
        zeros, ones = scalar(0), scalar(-1)
    elif (n.smin32, n.smax32) == (-1, 0):
        zeros, ones = (left._replace(number=numbers.with_low(n, low)) for low in (0, -1))
    else:
        return left
    path.fork(path.pc).frames[-1].registers[i.dst] = zeros
    return ones


def _known(n: Number, bits: int) -> int | None:
    """The operand as a signed number of so many bits, if it is known and fits into 32."""
    if n.mask & (1 << bits) - 1:
        return None
    delta = numbers.signed(n.value, bits)
    return delta if S32_MIN <= delta <= S32_MAX else None


def _pointer(i: Instruction, path: Path, left: Value, right: Value) -> Value:
    """A pointer and a number; the number mattered."""
    if left.kind != SCALAR and right.kind != SCALAR:
        return ANY_SCALAR
    exchanged = left.kind == SCALAR
    pointer, number = (right, left) if exchanged else (left, right)
    if i.src != isa.ZERO:
        path.rely(i.dst if exchanged else i.src)
    moved = move(i.op, i.dst, pointer, number.number, exchanged)
    assert isinstance(moved, Value)
    if moved.kind in PACKETS and moved.off == pointer.off and not _fixed(number.number):
        forward = i.op == Op.ADD64 or number.number.smin < 0
        return moved._replace(id=path.new_id(), about=0 if forward else moved.about)
    return moved


def _fixed(number: Number) -> bool:
    return number.known


def _unknown(i: Instruction, path: Path) -> None:
    path.registers[i.dst] = ANY_SCALAR


def _byte_order(i: Instruction, path: Path) -> None:
    value = path.registers[i.dst]
    if i.op == Op.LE64 and value.kind == SCALAR:
        return
    known = value.kind == SCALAR
    path.registers[i.dst] = Value(SCALAR, byte_order(i.op, value.number)) if known else ANY_SCALAR


def _negate(i: Instruction, path: Path) -> None:
    value = path.registers[i.dst]
    known = value.kind == SCALAR
    number = compute(i.op, value.number, value.number) if known else numbers.UNKNOWN
    path.registers[i.dst] = Value(SCALAR, number)


def _move(i: Instruction, path: Path) -> None:
    if i.src == isa.ZERO:
        path.registers[i.dst] = scalar(i.imm)
    else:
        path.registers[i.dst] = path.name_scalar(i.src)


def _move32(i: Instruction, path: Path) -> None:
    if i.src == isa.ZERO:
        path.registers[i.dst] = scalar(i.imm & 0xFFFFFFFF)
        return
    value = path.registers[i.src]
    if value.kind != SCALAR:
        number = numbers.low_word(numbers.UNKNOWN)
        path.registers[i.dst] = Value(SCALAR, number)
        return
    if value.number.width <= 32:
        value = path.name_scalar(i.src)
    else:
        value = value._replace(id=0, off=0)
    path.registers[i.dst] = value._replace(number=numbers.low_word(value.number))


_EXTENSIONS: dict[int, tuple[Callable[[Number, int], Number], int]] = {
    int(Op.MOVSX8_64): (numbers.extended, 8),
    int(Op.MOVSX16_64): (numbers.extended, 16),
    int(Op.MOVSX32_64): (numbers.extended, 32),
    int(Op.MOVSX8_32): (numbers.extended32, 8),
    int(Op.MOVSX16_32): (numbers.extended32, 16),
}


def _extend(i: Instruction, path: Path) -> None:
    function, bits = _EXTENSIONS[i.op]
    value = operand(i, path)
    if value.kind != SCALAR:
        wide = function is numbers.extended
        number = numbers.UNKNOWN if wide else numbers.low_word(numbers.UNKNOWN)
        path.registers[i.dst] = Value(SCALAR, number)
        return
    if i.src != isa.ZERO and value.number.umax < 1 << (bits - 1):
        value = path.name_scalar(i.src)
    else:
        value = value._replace(id=0, off=0)
    path.registers[i.dst] = value._replace(number=function(value.number, bits))


def _cast_kern(i: Instruction, path: Path) -> None:
    path.registers[i.dst] = ARENA_POINTER


def _nothing(i: Instruction, path: Path) -> None:
    return None


def _goto(i: Instruction, path: Path) -> int:
    return path.pc + 1 + i.off


def _may_goto(i: Instruction, path: Path) -> int:
    """Both ways; the one that goes on is explored later, with loop counters widened."""
    return path.fork_loop(path.pc + 1, path.pc + 1 + i.off)


def _load(i: Instruction, path: Path) -> None:
    base = path.registers[i.src]
    path.note_access(i.src)
    value = _loaded(i, path, base)
    size = facts.BYTES[Op(i.op)]
    if size < 8 and value.kind == SCALAR:
        signed = Op.LDXS8 <= i.op <= Op.LDXS32
        narrow = numbers.extended if signed else numbers.truncated
        value = value._replace(number=narrow(value.number, 8 * size))
    path.registers[i.dst] = value


def _loaded(i: Instruction, path: Path, base: Value) -> Value:
    """What memory holds: known of stacks, contexts and read-only maps alone."""
    size = facts.BYTES[Op(i.op)]
    if base.kind == STACK:
        return stack.load(path, base, base.off + i.off, size)
    if base.kind == CTX:
        context = PROGRAM_TYPES[path.setting.type].context
        field = context.field_at(i.off, size, False) if context else None
        return _PACKET_FIELDS.get(field.loads if field else "", ANY_SCALAR)
    if base.kind == MAP_VALUE and base.number.known:
        return _constant_in_map(base.about, base.off + i.off + base.number.value, size, i.op)
    return ANY_SCALAR


_PACKET_FIELDS = {
    "packet": Value(PACKET, about=0),
    "packet_end": Value(PACKET_END),
    "packet_meta": Value(PACKET_META, about=0),
}


def _constant_in_map(row: MapDefinition, at: int, size: int, op: int) -> Value:
    """The content of a map that neither programs nor users can change."""
    if not row.frozen or row.type != "array" or row.max_entries != 1:
        return ANY_SCALAR
    content = row.initial.ljust(row.value_size, b"\0")[at : at + size]
    signed = Op.LDXS8 <= op <= Op.LDXS32
    return scalar(int.from_bytes(content, "little", signed=signed))


def _store(i: Instruction, path: Path) -> None:
    base = path.registers[i.dst]
    path.note_access(i.dst)
    if base.kind == STACK:
        register = -1 if i.src == isa.ZERO else i.src
        size = facts.BYTES[Op(i.op)]
        stack.store(path, base, base.off + i.off, size, register, operand(i, path))


def _update(i: Instruction, path: Path) -> None:
    """Atomic read-modify-write: a load and a store of something."""
    base = path.registers[i.dst]
    path.note_access(i.dst)
    size, fetches = facts.BYTES[Op(i.op)], i.op in facts.FETCHES
    result = 0 if i.op in (Op.CMPXCHG32, Op.CMPXCHG64) else i.src
    loaded = ANY_SCALAR
    if base.kind == STACK:
        loaded = stack.load(path, base, base.off + i.off, size, fetches)
        stack.store(path, base, base.off + i.off, size, -1, ANY_SCALAR)
    if fetches:
        if size < 8 and loaded.kind == SCALAR:
            loaded = loaded._replace(number=numbers.truncated(loaded.number, 8 * size))
        path.registers[result] = loaded


def _wide(i: Instruction, path: Path) -> int:
    kind, name = path.setting.names.get(path.pc, ("", ""))
    row = path.setting.maps.get(name)
    if i.op == Op.LD_IMM64:
        value = scalar(i.imm)
    elif i.op == Op.LD_FUNC:
        value = Value(FUNC, about=path.pc + 1 + i.off)
    elif i.op in (Op.LD_MAP_FD, Op.LD_MAP_IDX):
        value = Value(MAP, about=row or ARENA_MAP)
    elif kind == "map" and row is not None:
        value = Value(MAP_VALUE, off=i.imm >> 32 & 0xFFFFFFFF, about=row)
    else:
        value = ANY_SCALAR  # an address in the arena is a number to the verifier
    path.registers[i.dst] = value
    return path.pc + 2


ARENA_MAP = MapDefinition("", "arena")


def _packet_load(i: Instruction, path: Path) -> None:
    """Loads through a function call: r1 to r5 are lost."""
    path.registers[0:6] = [ANY_SCALAR] + [NOTHING] * 5


TRANSFERS: dict[int, Transfer] = {int(op): _nothing for op in Op}
for _ops, _function in (
    (facts.ALU_BINARY, _binary),
    (facts.UNARY, _byte_order),
    ((Op.NEG64, Op.NEG32), _negate),
    (_EXTENSIONS, _extend),
    ((Op.MOV64,), _move),
    ((Op.MOV32,), _move32),
    ((Op.CAST_KERN,), _cast_kern),
    ((Op.CAST_USER,), _unknown),
    ((Op.JA, Op.JA32), _goto),
    ((Op.MAY_GOTO,), _may_goto),
    (branches.COMPARISONS, branch),
    (facts.LOADS, _load),
    (facts.STORES, _store),
    (facts.UPDATES, _update),
    (isa.WIDE, _wide),
    (facts.PACKET_LOADS, _packet_load),
):
    TRANSFERS |= {int(op): _function for op in _ops}
