"""What instructions do to a path of type `raw`: kinds are followed, numbers are not.

The engine of that type checks every access as it happens, so nothing needs to be bounded. Stack
pointers keep their offset while constants are added, so that spilled pointers are found again;
functions share r0 to r9.
"""

from workbench.bpf import isa
from workbench.bpf.isa import Op
from workbench.errors import VerificationError
from workbench.verifier.paths.calls import END
from workbench.verifier.paths.path import Path
from workbench.verifier.rules import facts
from workbench.verifier.rules.facts import Instruction
from workbench.verifier.values import numbers
from workbench.verifier.values.domain import (
    ANY_SCALAR,
    ARENA,
    ARENA_POINTER,
    FRAME_BYTES,
    FUNC,
    MEM,
    SCALAR,
    STACK,
    UNSET,
    Frame,
    Slot,
    Value,
)

_LOST = Value(STACK, numbers.UNKNOWN, about=-1)
"""A stack pointer that may lead anywhere."""


def _operand(i: Instruction, path: Path) -> Value:
    return ANY_SCALAR if i.src == isa.ZERO else path.registers[i.src]


def _binary(i: Instruction, path: Path) -> None:
    left, right = path.registers[i.dst], _operand(i, path)
    if ARENA in (left.kind, right.kind):
        path.registers[i.dst] = ARENA_POINTER
        if i.op <= facts.LAST_64:
            path.arithmetic.add(path.pc)
        return
    path.registers[i.dst] = _moved(i, left, right)


def _moved(i: Instruction, left: Value, right: Value) -> Value:
    """A pointer plus or minus a number stays in its memory; other operations make numbers."""
    if i.op == Op.ADD64 and right.kind != SCALAR:
        left, right = right, left
    if i.op not in (Op.ADD64, Op.SUB64) or left.kind == SCALAR or right.kind != SCALAR:
        return ANY_SCALAR
    if left.kind != STACK:
        return left if left.kind == MEM else ANY_SCALAR
    if i.src != isa.ZERO or left.about < 0:
        return _LOST
    off = left.off + (i.imm if i.op == Op.ADD64 else -i.imm)
    return left._replace(off=off) if -FRAME_BYTES <= off <= 0 else _LOST


def _move(i: Instruction, path: Path) -> None:
    path.registers[i.dst] = _operand(i, path)


def _number(i: Instruction, path: Path) -> None:
    path.registers[i.dst] = ANY_SCALAR


def _place(i: Instruction, base: Value, path: Path) -> tuple[Frame, int] | None:
    """The frame and offset that an access to a known place of a stack touches."""
    off = base.off + i.off
    if base.kind != STACK or base.about < 0 or not -FRAME_BYTES <= off <= -1:
        return None
    return path.state.frames[base.about], off


def _loaded(i: Instruction, base: Value, path: Path) -> Value:
    """Only a whole stack slot keeps what was spilled into it."""
    place = _place(i, base, path)
    if place is None or place[1] % 8 or facts.BYTES[Op(i.op)] < 8:
        return ANY_SCALAR
    stack, at = place[0].stack, (-place[1] - 1) // 8
    value = stack[at].value if at < len(stack) else None
    return ANY_SCALAR if value is None else value


def _stored(i: Instruction, base: Value, value: Value, path: Path) -> None:
    """A store through a pointer that may lead to any stack slot forgets them all."""
    if base.kind in (ARENA, MEM):
        return
    place, size = _place(i, base, path), facts.BYTES[Op(i.op)]
    if place is None:
        for frame in path.state.frames:
            frame.stack = ()
        return
    frame, off = place
    frame.grow((-off + 7) // 8)
    whole = off % 8 == 0 and size == 8 and value.kind != SCALAR
    for at in {(-off - 1) // 8, max((-(off + size - 1) - 1) // 8, 0)}:
        frame.put(at, Slot("r" * 8, value) if whole else Slot("m" * 8))


def _load(i: Instruction, path: Path) -> None:
    path.note_access(i.src)
    path.registers[i.dst] = _loaded(i, path.registers[i.src], path)


def _store(i: Instruction, path: Path) -> None:
    path.note_access(i.dst)
    _stored(i, path.registers[i.dst], _operand(i, path), path)


def _update(i: Instruction, path: Path) -> None:
    base = path.registers[i.dst]
    path.note_access(i.dst)
    loaded = _loaded(i, base, path)
    _stored(i, base, ANY_SCALAR, path)
    if i.op in facts.FETCHES:
        result = 0 if i.op in (Op.CMPXCHG32, Op.CMPXCHG64) else i.src
        path.registers[result] = loaded


def _branch(i: Instruction, path: Path) -> None:
    path.fork(path.pc + 1 + i.off)


def _wide(i: Instruction, path: Path) -> int:
    value = Value(FUNC, about=path.pc + 1 + i.off) if i.op == Op.LD_FUNC else ANY_SCALAR
    path.registers[i.dst] = value
    return path.pc + 2


def _call(i: Instruction, path: Path) -> int:
    target = path.pc + 1 + i.off
    if i.op == Op.CALLX:
        value = path.registers[i.dst]
        if value.kind != FUNC:
            raise VerificationError(path.pc, f"R{i.dst} is not the address of a known function")
        target = value.about
    number = len(path.state.frames)
    frame = Frame(path.registers[:10], number, path.pc, target)
    frame.registers.append(Value(STACK, about=number))
    path.state.frames.append(frame)
    path.switch()
    return target


def _leave(i: Instruction, path: Path) -> int:
    """Hand back r0 to r5; a pointer into the frame that is gone is just a number."""
    frames = path.state.frames
    if len(frames) == 1:
        return END
    callee = frames.pop()
    path.switch()
    path.registers[0:6] = [_without(value, callee.number) for value in callee.registers[:6]]
    frame = path.frame
    frame.stack = tuple(
        slot if slot.value is None else slot._replace(value=_without(slot.value, callee.number))
        for slot in frame.stack
    )
    return callee.callsite + 1


def _without(value: Value, frame: int) -> Value:
    if value.kind == UNSET or value.kind != STACK:
        return value
    return ANY_SCALAR if value.about in (frame, -1) else value


RAW = {
    int(op): function
    for ops, function in (
        (facts.ALU_BINARY, _binary),
        (facts.UNARY, _number),
        (facts.MOVES - {Op.MOV64}, _number),
        ((Op.MOV64,), _move),
        (facts.JUMPS | {Op.MAY_GOTO}, _branch),
        (facts.LOADS, _load),
        (facts.STORES, _store),
        (facts.UPDATES, _update),
        (isa.WIDE, _wide),
        ((Op.CALL_HELPER, Op.CALL_KFUNC, *facts.PACKET_LOADS), lambda i, path: _result(path)),
        ((Op.CALL_LOCAL, Op.CALLX), _call),
        ((Op.EXIT,), _leave),
    )
    for op in ops
}
"""Transfers that differ for this type."""


def _result(path: Path) -> None:
    path.registers[0] = ANY_SCALAR
