"""Comparisons: which way a jump goes, and what is known of the operands afterwards.

Sources: is_scalar_branch_taken and regs_refine_cond_op in kernel/bpf/verifier.c.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from workbench.bpf.isa import JUMPS, Op
from workbench.verifier.values import tnum
from workbench.verifier.values.numbers import (
    FEW,
    MANY,
    Number,
    consistent,
    signed,
    synced,
    unbounded,
    with_bits,
)
from workbench.verifier.values.tnum import LOW, MASK


class Comparison(NamedTuple):
    """What a conditional jump asks: a name like "JSLT", of 64 or 32 bits."""

    name: str
    bits: int


COMPARISONS = {int(Op[f"{n}{b}"]): Comparison(n, b) for n in JUMPS for b in (64, 32)}
FLIPPED = dict(JEQ="JEQ", JNE="JNE", JSET="JSET", JGE="JLE", JGT="JLT", JLE="JGE", JLT="JGT")
FLIPPED |= dict(JSGE="JSLE", JSGT="JSLT", JSLE="JSGE", JSLT="JSGT")
REVERSED = dict(JEQ="JNE", JNE="JEQ", JSET="JCLEAR", JGE="JLT", JGT="JLE", JLE="JGT", JLT="JGE")
REVERSED |= dict(JSGE="JSLT", JSGT="JSLE", JSLE="JSGT", JSLT="JSGE")
"""A comparison with its operands exchanged, and the one that holds where the jump falls through."""

Answer = bool | None


def _ranges(n: Number, name: str, bits: int) -> tuple[int, int]:
    """The range that a comparison looks at: signed or unsigned."""
    if bits == 64:
        return (n.smin, n.smax) if name[1] == "S" and name != "JSET" else (n.umin, n.umax)
    return (n.smin32, n.smax32) if name[1] == "S" and name != "JSET" else (n.umin32, n.umax32)


def _part(n: Number, bits: int) -> tnum.Tnum:
    return tnum.cast(n.bits, bits)


def _equal(a: Number, b: Number, bits: int) -> Answer:
    t, u = _part(a, bits), _part(b, bits)
    if not t.mask | u.mask:
        return t.value == u.value
    if not tnum.overlap(t, u):
        return False
    for at in (0, 2, 4, 6) if bits == 64 else (4, 6):
        if a[at] > b[at + 1] or a[at + 1] < b[at]:
            return False
    return None


def _unequal(a: Number, b: Number, bits: int) -> Answer:
    equal = _equal(a, b, bits)
    return None if equal is None else not equal


def _common_bits(a: Number, b: Number, bits: int) -> Answer:
    t, u = _part(a, bits), _part(b, bits)
    if u.mask:
        t, u = u, t
    if u.mask:
        return None
    if t.value & u.value:
        return True
    return None if (t.value | t.mask) & u.value else False


def _less(a: Number, b: Number, name: str, bits: int) -> Answer:
    (a1, a2), (b1, b2) = _ranges(a, name, bits), _ranges(b, name, bits)
    return True if a2 < b1 else False if a1 >= b2 else None


def _less_or_equal(a: Number, b: Number, name: str, bits: int) -> Answer:
    (a1, a2), (b1, b2) = _ranges(a, name, bits), _ranges(b, name, bits)
    return True if a2 <= b1 else False if a1 > b2 else None


@lru_cache(maxsize=MANY)
def taken(op: int, a: Number, b: Number) -> Answer:
    """Whether a conditional jump on two numbers is taken; None when both ways are possible."""
    name, bits = COMPARISONS[op]
    if name in _SYMMETRIC:
        return _SYMMETRIC[name](a, b, bits)
    if name.endswith(("GT", "GE")):
        name, a, b = FLIPPED[name], b, a
    return (_less if name.endswith("LT") else _less_or_equal)(a, b, name, bits)


_SYMMETRIC: dict[str, Callable[[Number, Number, int], Answer]] = {
    "JEQ": _equal,
    "JNE": _unequal,
    "JSET": _common_bits,
}

Pair = tuple[Number, Number]


def _refine_equal(a: Number, b: Number, bits: int) -> Pair:
    first = 0 if bits == 64 else 4
    ranges = list(a[:8])
    for at in range(first, first + 4, 2):
        ranges[at] = max(a[at], b[at])
        ranges[at + 1] = min(a[at + 1], b[at + 1])
    shared = ranges[first : first + 4]
    both = tnum.intersect(_part(a, bits), _part(b, bits))
    return _set(a, first, shared, both, bits), _set(b, first, shared, both, bits)


def _set(n: Number, first: int, ranges: list[int], bits: tnum.Tnum, width: int) -> Number:
    fields = list(n[:8])
    fields[first : first + 4] = ranges
    whole = bits if width == 64 else tnum.with_low(n.bits, bits)
    return Number._make((*fields, whole.value, whole.mask))


def _refine_unequal(a: Number, b: Number, bits: int) -> Pair:
    """A constant at the edge of a range is cut off."""
    if _part(b, bits).mask:
        if _part(a, bits).mask:
            return a, b
        b, a = _refine_unequal(b, a, bits)
        return a, b
    value = _part(b, bits).value
    first = 0 if bits == 64 else 4
    fields = list(a)
    for at, edge in ((first, signed(value, bits)), (first + 2, value)):
        fields[at] += fields[at] == edge
        fields[at + 1] -= fields[at + 1] == edge
    return Number(*fields), b


def _refine_common_bits(a: Number, b: Number, bits: int) -> Pair:
    """Only a single bit that is asked for is known to be set."""
    if _part(b, bits).mask:
        if _part(a, bits).mask:
            return a, b
        b, a = _refine_common_bits(b, a, bits)
        return a, b
    value = _part(b, bits).value
    if value.bit_count() != 1:
        return a, b
    joined = tnum.disjunction(_part(a, bits), tnum.constant(value))
    return with_bits(a, joined if bits == 64 else tnum.with_low(a.bits, joined)), b


def _refine_clear(a: Number, b: Number, bits: int) -> Pair:
    """None of the bits that were asked for is set."""
    if _part(b, bits).mask:
        if _part(a, bits).mask:
            return a, b
        b, a = _refine_clear(b, a, bits)
        return a, b
    kept = tnum.constant(~_part(b, bits).value & (MASK if bits == 64 else LOW))
    left = tnum.conjunction(_part(a, bits), kept)
    a = unbounded(a)
    return with_bits(a, left if bits == 64 else tnum.with_low(a.bits, left)), b


_FIELDS = {
    ("JL", 64): ("umin", "umax"),
    ("JL", 32): ("umin32", "umax32"),
    ("JSL", 64): ("smin", "smax"),
    ("JSL", 32): ("smin32", "smax32"),
}


def _refine_order(a: Number, b: Number, name: str, bits: int) -> Pair:
    """a < b or a <= b."""
    low, high = _FIELDS[name[:-1], bits]
    strict = name.endswith("T")
    top, bottom = getattr(b, high) - strict, getattr(a, low) + strict
    if name[1] != "S":
        full = MASK if bits == 64 else LOW
        top, bottom = top & full, bottom & full
    return (
        a._replace(**{high: min(getattr(a, high), top)}),
        b._replace(**{low: max(bottom, getattr(b, low))}),
    )


_REFINE: dict[str, Callable[[Number, Number, int], Pair]] = {
    "JEQ": _refine_equal,
    "JNE": _refine_unequal,
    "JSET": _refine_common_bits,
    "JCLEAR": _refine_clear,
}


@lru_cache(maxsize=MANY)
def refined(op: int, jumped: bool, a: Number, b: Number) -> Pair:
    """What is known of both operands where the jump was taken, or where it was not."""
    name, bits = COMPARISONS[op]
    if not jumped:
        name = REVERSED[name]
    if name in _REFINE:
        a, b = _REFINE[name](a, b, bits)
    elif name.endswith(("GT", "GE")):
        b, a = _refine_order(b, a, FLIPPED[name], bits)
    else:
        a, b = _refine_order(a, b, name, bits)
    return consistent(synced(a)), consistent(synced(b))


@lru_cache(maxsize=FEW)
def refined_with_itself(op: int, jumped: bool, n: Number) -> Number:
    """What is known of a register that was compared with itself: it learns as either operand."""
    name, bits = COMPARISONS[op]
    name = name if jumped else REVERSED[name]
    if name in _REFINE:
        return refined(op, jumped, n, n)[0]
    name = FLIPPED[name] if name.endswith(("GT", "GE")) else name
    low, high = _FIELDS[name[:-1], bits]
    a, b = _refine_order(n, n, name, bits)
    both = n._replace(**{low: getattr(b, low), high: getattr(a, high)})
    return consistent(synced(synced(both)))
