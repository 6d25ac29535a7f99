"""Tristate numbers: 64 bits of which each is known to be 0, known to be 1, or unknown.

A bit that is set in `mask` is unknown and clear in `value`. Addition and subtraction are optimal,
multiplication is sound. Sources: H. Vishwanathan et al., "Sound, Precise, and Fast Abstract
Interpretation with Tristate Numbers" (CGO 2022); kernel/bpf/tnum.c of Linux 6.18.
"""

from typing import NamedTuple

MASK = (1 << 64) - 1
LOW = (1 << 32) - 1
MAX_DECIMAL = 0xFFFF  # UNUM_MAX_DECIMAL of kernel/bpf/log.c: what is larger is hexadecimal


class Tnum(NamedTuple):
    """The set of numbers that agree with `value` wherever `mask` has a 0."""

    value: int
    mask: int


UNKNOWN = Tnum(0, MASK)


def constant(number: int) -> Tnum:
    """The set of one number, as 64 unsigned bits."""
    return Tnum(number & MASK, 0)


def contains(a: Tnum, number: int) -> bool:
    """Whether a number of 64 unsigned bits is in the set."""
    return not (a.value ^ number) & ~a.mask & MASK


def between(low: int, high: int) -> Tnum:
    """The smallest set with every number from `low` to `high` (unsigned): their common prefix."""
    free = (1 << (low ^ high).bit_length()) - 1
    return Tnum(low & ~free & MASK, free & MASK)


def step(a: Tnum, number: int) -> int:
    """The smallest member above a number; the largest of all if there is none."""
    top = a.value | a.mask
    if number >= top or number < a.value:
        return top if number >= top else a.value
    wrong = (number ^ a.value) & ~a.mask & MASK
    below = (1 << wrong.bit_length()) - 1
    if wrong & a.value & ~(below >> 1):  # the highest bit that differs is 1 in all members
        return (number & a.mask | a.value) & ~below | a.value & below
    return (number | below | ~a.mask & MASK) + 1 & a.mask | a.value


def add(a: Tnum, b: Tnum) -> Tnum:
    """Sums of a number of `a` and one of `b`, modulo 2**64."""
    total = a.value + b.value
    unknown = (a.mask + b.mask + total ^ total | a.mask | b.mask) & MASK
    return Tnum(total & ~unknown & MASK, unknown)


def subtract(a: Tnum, b: Tnum) -> Tnum:
    """Differences of a number of `a` and one of `b`."""
    difference = a.value - b.value
    unknown = (difference + a.mask ^ difference - b.mask | a.mask | b.mask) & MASK
    return Tnum(difference & ~unknown & MASK, unknown)


def negate(a: Tnum) -> Tnum:
    """The numbers of a set, negated."""
    return subtract(Tnum(0, 0), a)


def conjunction(a: Tnum, b: Tnum) -> Tnum:
    """What `x & y` may be, for x in `a` and y in `b`."""
    ones = a.value & b.value
    return Tnum(ones, (a.value | a.mask) & (b.value | b.mask) & ~ones)


def disjunction(a: Tnum, b: Tnum) -> Tnum:
    """What `x | y` may be, for x in `a` and y in `b`."""
    ones = a.value | b.value
    return Tnum(ones, (a.mask | b.mask) & ~ones)


def exclusive(a: Tnum, b: Tnum) -> Tnum:
    """What `x ^ y` may be, for x in `a` and y in `b`."""
    unknown = a.mask | b.mask
    return Tnum((a.value ^ b.value) & ~unknown, unknown)


def multiply(a: Tnum, b: Tnum) -> Tnum:
    """Products, by long multiplication: an unknown bit of `a` gives a summand or does not."""
    total = Tnum(0, 0)
    while a.value or a.mask:
        if a.value & 1:
            total = add(total, b)
        elif a.mask & 1:
            total = union(total, add(total, b))
        a, b = Tnum(a.value >> 1, a.mask >> 1), left(b, 1)
    return total


def left(a: Tnum, count: int) -> Tnum:
    """The numbers of a set, shifted left by a known count."""
    return Tnum(a.value << count & MASK, a.mask << count & MASK)


def right(a: Tnum, count: int) -> Tnum:
    """The numbers of a set, shifted right by a known count, zeros coming in."""
    return Tnum(a.value >> count, a.mask >> count)


def right_signed(a: Tnum, count: int, bits: int) -> Tnum:
    """Shift the low `bits` right; the sign bit, or its being unknown, is repeated."""
    sign, full = 1 << (bits - 1), (1 << bits) - 1
    value = (a.value & full ^ sign) - sign >> count & full
    mask = (a.mask & full ^ sign) - sign >> count & full
    return Tnum(value, mask)


def union(a: Tnum, b: Tnum) -> Tnum:
    """The smallest set that holds both."""
    unknown = a.value ^ b.value | a.mask | b.mask
    return Tnum(a.value & b.value & ~unknown, unknown)


def intersect(a: Tnum, b: Tnum) -> Tnum:
    """The numbers in both sets; anything where the sets have none in common."""
    unknown = a.mask & b.mask
    return Tnum((a.value | b.value) & ~unknown, unknown)


def overlap(a: Tnum, b: Tnum) -> bool:
    """Whether some number may be in both sets."""
    return not (a.value ^ b.value) & ~a.mask & ~b.mask & MASK


def within(inner: Tnum, outer: Tnum) -> bool:
    """Whether every number of `inner` is in `outer`."""
    return not inner.mask & ~outer.mask and inner.value & ~outer.mask == outer.value


def cast(a: Tnum, bits: int) -> Tnum:
    """The low `bits` bits of the numbers, zero-extended."""
    full = (1 << bits) - 1
    return Tnum(a.value & full, a.mask & full)


def with_low(a: Tnum, low: Tnum) -> Tnum:
    """The upper 32 bits of `a` over the lower 32 bits of `low`."""
    return Tnum(a.value & ~LOW | low.value & LOW, a.mask & ~LOW | low.mask & LOW)


def swapped(a: Tnum, bits: int) -> Tnum:
    """The low 16, 32 or 64 bits with their bytes in reverse order."""
    size, full = bits // 8, (1 << bits) - 1
    value = int.from_bytes((a.value & full).to_bytes(size, "little"), "big")
    return Tnum(value, int.from_bytes((a.mask & full).to_bytes(size, "little"), "big"))


def text_of(a: Tnum) -> str:
    """The set as Linux prints it: small numbers in decimal, `(value; mask)` in hexadecimal."""
    if not a.mask:
        return str(a.value) if a.value <= MAX_DECIMAL else f"{a.value:#x}"
    return f"({a.value:#x}; {a.mask:#x})"


def aligned(a: Tnum, size: int) -> bool:
    """Whether every number of the set is a multiple of `size`, a power of two."""
    return not (a.value | a.mask) & (size - 1)
