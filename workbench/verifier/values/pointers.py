"""Arithmetic on pointers: a pointer moves by a number, and stays in what it points into.

Source: adjust_ptr_min_max_vals in kernel/bpf/verifier.c.
"""

from workbench.bpf.isa import Op
from workbench.verifier.values import numbers, tnum
from workbench.verifier.values.domain import (
    ANY_SCALAR,
    ARENA,
    CTX,
    FUNC,
    MAP,
    MAP_KEY,
    MAP_VALUE,
    MAX_OFFSET,
    MEMORIES,
    NAMES,
    OR_NULL,
    PACKETS,
    STACK,
    Value,
)
from workbench.verifier.values.numbers import S32_MAX, S32_MIN, S64_MAX, S64_MIN, Number, signed
from workbench.verifier.values.tnum import MASK

SIGNS = dict(ADD="+=", SUB="-=", MUL="*=", DIV="/=", MOD="%=", SDIV="/=", SMOD="%=")
SIGNS |= dict(OR="|=", AND="&=", XOR="^=", LSH="<<=", RSH=">>=", ARSH="s>>=")
NAMES_OF = {int(op): op.name[:-2] for op in Op if op <= Op.ARSH64 or Op.ADD32 <= op <= Op.ARSH32}
_MOVABLE = {CTX, MAP_VALUE, MAP_KEY, STACK, FUNC} | PACKETS | MEMORIES


def arithmetic_refusal(op: int, dst: int, left: Value, right: Value) -> str | None:
    """Why `left op= right` with a pointer on some side is not allowed, or None."""
    name, first, second = NAMES_OF[op], left.kind, right.kind
    if ARENA in (first, second):
        return None
    if first != 1 and second != 1:
        return None if name == "SUB" else f"R{dst} pointer {SIGNS[name]} pointer prohibited"
    pointer, number = (left, right) if first != 1 else (right, left)
    moved = move(op, dst, pointer, number.number, second != 1)
    return moved if isinstance(moved, str) else None


def move(op: int, dst: int, pointer: Value, n: Number, reversed: bool) -> Value | str:
    """The pointer moved by a number, or the reason why it may not; `reversed`: number op= pointer.

    Packet pointers keep their identity and range here; see `transfer` for those.
    """
    name, kind = NAMES_OF[op], pointer.kind
    if n.smin > n.smax or n.umin > n.umax or (n.known and n.smin != n.smax):
        return ANY_SCALAR
    if op >= Op.ADD32:
        if name == "SUB":
            return ANY_SCALAR
        return f"R{dst} 32-bit pointer arithmetic prohibited"
    if reason := _fixed(name, dst, kind, n):
        return reason
    for number, off in ((n, 0), (pointer.number, pointer.off)):
        if reason := _too_far(number, off, kind):
            return reason
    if name == "SUB" and reversed:
        return f"R{dst} tried to subtract pointer from scalar"
    if name == "SUB" and kind == STACK:
        return f"R{dst} subtraction from stack pointer prohibited"
    if name in ("AND", "OR", "XOR"):
        return f"R{dst} bitwise operator {SIGNS[name]} on pointer prohibited"
    if name not in ("ADD", "SUB"):
        return f"R{dst} pointer arithmetic with {SIGNS[name]} operator prohibited"
    moved = _moved(pointer, n, name == "ADD")
    return _too_far(moved.number, moved.off, kind) or moved


def _fixed(name: str, dst: int, kind: int, n: Number) -> str | None:
    """Kinds of pointers that do not move."""
    if kind & OR_NULL:
        return f"R{dst} pointer arithmetic on {NAMES[kind]} prohibited, null-check it first"
    if kind in _MOVABLE or (kind == MAP and n.known and n.smin == 0 and name == "ADD"):
        return None
    return f"R{dst} pointer arithmetic on {NAMES[kind]} prohibited"


def _too_far(n: Number, off: int, kind: int) -> str | None:
    """Distances stay below 2**29. Source: check_reg_sane_offset."""
    value = signed(n.value)
    if n.known and abs(value) >= MAX_OFFSET:
        return f"math between {NAMES[kind]} pointer and {value} is not allowed"
    if abs(off) >= MAX_OFFSET:
        return f"{NAMES[kind]} pointer offset {off} is not allowed"
    if n.smin == S64_MIN:
        return (
            f"math between {NAMES[kind]} pointer and register with unbounded min value "
            "is not allowed"
        )
    if abs(n.smin) >= MAX_OFFSET:
        return f"value {n.smin} makes {NAMES[kind]} pointer be out of bounds"
    return None


def _moved(pointer: Value, n: Number, forward: bool) -> Value:
    if n.known:
        off = pointer.off + (n.smin if forward else -n.smin)
        if S32_MIN <= off <= S32_MAX:
            number = (
                numbers.synced(numbers.unbounded32(pointer.number))
                if (pointer.number.mask)
                else pointer.number
            )
            return pointer._replace(off=off, number=number)
    p = pointer.number
    bits = (tnum.add if forward else tnum.subtract)(p.bits, n.bits)
    if forward:
        s, u = (p.smin + n.smin, p.smax + n.smax), (p.umin + n.umin, p.umax + n.umax)
    else:
        s, u = (p.smin - n.smax, p.smax - n.smin), (p.umin - n.umax, p.umax - n.umin)
    if s[0] < S64_MIN or s[1] > S64_MAX:
        s = (S64_MIN, S64_MAX)
    if u[0] < 0 or u[1] > MASK:
        u = (0, MASK)
    moved = numbers.unbounded32(Number(*s, *u, 0, 0, 0, 0, *bits))
    return pointer._replace(number=numbers.synced(moved))
