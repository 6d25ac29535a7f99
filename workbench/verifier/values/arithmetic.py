"""Arithmetic on what is known of numbers, a row per operation.

A row computes the 32-bit ranges, the 64-bit ranges and the bits of the result from those of the
operands. Division, remainder and shifts by an unknown distance give an unknown number, as in
Linux 6.18. Source: adjust_scalar_min_max_vals in kernel/bpf/verifier.c.
"""

from collections.abc import Callable
from functools import lru_cache

from workbench.bpf.isa import Op
from workbench.verifier.values import tnum
from workbench.verifier.values.numbers import (
    FEW,
    MANY,
    S32_MAX,
    S32_MIN,
    S64_MAX,
    S64_MIN,
    UNKNOWN,
    Number,
    bits_to_32,
    bits_to_ranges,
    consistent,
    constant,
    is_constant,
    signed,
    synced,
    truncated,
    unbounded32,
    unbounded64,
    with_bits,
    zero_extended,
)
from workbench.verifier.values.tnum import LOW, MASK

Range = tuple[int, int]
FULL_SIGNED = {64: (S64_MIN, S64_MAX), 32: (S32_MIN, S32_MAX)}
FULL = {64: (0, MASK), 32: (0, LOW)}


def _in_signed(low: int, high: int, bits: int) -> Range:
    """The range, or the full one where it does not fit into so many bits."""
    first, last = FULL_SIGNED[bits]
    return (low, high) if first <= low and high <= last else (first, last)


def _in_unsigned(low: int, high: int, bits: int) -> Range:
    """The range modulo 2**bits, or the full one where only one end wraps around."""
    last = FULL[bits][1]
    return (low & last, high & last) if low >> bits == high >> bits else (0, last)


def _signed_of(n: Number, bits: int) -> Range:
    return (n.smin, n.smax) if bits == 64 else (n.smin32, n.smax32)


def _unsigned_of(n: Number, bits: int) -> Range:
    return (n.umin, n.umax) if bits == 64 else (n.umin32, n.umax32)


def _with(n: Number, bits: int, s: Range, u: Range) -> Number:
    if bits == 64:
        return n._replace(smin=s[0], smax=s[1], umin=u[0], umax=u[1])
    return n._replace(smin32=s[0], smax32=s[1], umin32=u[0], umax32=u[1])


def _both(n: Number, ranges: Callable[[int], tuple[Range, Range]]) -> Number:
    """Set the ranges of 32 and of 64 bits."""
    return _with(_with(n, 32, *ranges(32)), 64, *ranges(64))


def _add(a: Number, b: Number) -> Number:
    if is_constant(a) and is_constant(b):
        return constant(a.value + b.value & MASK)

    def ranges(bits: int) -> tuple[Range, Range]:
        (s1, s2), (t1, t2) = _signed_of(a, bits), _signed_of(b, bits)
        (u1, u2), (v1, v2) = _unsigned_of(a, bits), _unsigned_of(b, bits)
        return _in_signed(s1 + t1, s2 + t2, bits), _in_unsigned(u1 + v1, u2 + v2, bits)

    return with_bits(_both(a, ranges), tnum.add(a.bits, b.bits))


def _subtract(a: Number, b: Number) -> Number:
    def ranges(bits: int) -> tuple[Range, Range]:
        (s1, s2), (t1, t2) = _signed_of(a, bits), _signed_of(b, bits)
        (u1, u2), (v1, v2) = _unsigned_of(a, bits), _unsigned_of(b, bits)
        return _in_signed(s1 - t2, s2 - t1, bits), _in_unsigned(u1 - v2, u2 - v1, bits)

    return with_bits(_both(a, ranges), tnum.subtract(a.bits, b.bits))


def _multiply(a: Number, b: Number) -> Number:
    def ranges(bits: int) -> tuple[Range, Range]:
        products = [s * t for s in _signed_of(a, bits) for t in _signed_of(b, bits)]
        (u1, u2), (v1, v2) = _unsigned_of(a, bits), _unsigned_of(b, bits)
        fits = u2 * v2 <= FULL[bits][1]
        u = (u1 * v1, u2 * v2) if fits else FULL[bits]
        return _in_signed(min(products), max(products), bits), u

    return with_bits(_both(a, ranges), tnum.multiply(a.bits, b.bits))


def _bitwise(
    combine: Callable[[tnum.Tnum, tnum.Tnum], tnum.Tnum],
    limits: Callable[[tnum.Tnum, Range, Range], Range],
) -> Callable[[Number, Number], Number]:
    """And, or, exclusive or: `limits` gives the unsigned range of the result."""

    def operate(a: Number, b: Number) -> Number:
        result = combine(a.bits, b.bits)

        def ranges(bits: int) -> tuple[Range, Range]:
            part = tnum.cast(result, bits)
            full = FULL[bits][1]
            if not (a.mask | b.mask) & full:
                return (signed(part.value, bits),) * 2, (part.value,) * 2
            low, high = limits(part, _unsigned_of(a, bits), _unsigned_of(b, bits))
            same_sign = signed(low, bits) <= signed(high, bits)
            s = (signed(low, bits), signed(high, bits)) if same_sign else FULL_SIGNED[bits]
            return s, (low, high)

        n = with_bits(_both(a, ranges), result)
        return constant(n.value) if not a.mask | b.mask else bits_to_ranges(n)

    return operate


_and = _bitwise(tnum.conjunction, lambda r, u, v: (r.value, min(u[1], v[1])))
_or = _bitwise(tnum.disjunction, lambda r, u, v: (max(u[0], v[0]), r.value | r.mask))
_xor = _bitwise(tnum.exclusive, lambda r, u, v: (r.value, r.value | r.mask))


def _negate(a: Number, b: Number) -> Number:
    return _subtract(constant(0), a)


def _left32_ranges(a: Number, count: int) -> Number:
    lost = count > 31 or a.umax32 > 1 << (31 - count)
    u = FULL[32] if lost else (a.umin32 << count, a.umax32 << count)
    return _with(a, 32, FULL_SIGNED[32], u)


def _left(a: Number, b: Number) -> Number:
    """By 32 is how compilers begin a sign extension: then the low half's sign is kept."""
    count = b.umin
    keeps = count == 32
    s = (
        a.smin32 << 32 if keeps and a.smin32 >= 0 else S64_MIN,
        a.smax32 << 32 if keeps and a.smax32 >= 0 else S64_MAX,
    )
    lost = a.umax > 1 << (63 - count)
    u = FULL[64] if lost else (a.umin << count, a.umax << count)
    n = _with(_left32_ranges(a, count), 64, s, u)
    return bits_to_ranges(with_bits(n, tnum.left(a.bits, count)))


def _left32(a: Number, b: Number) -> Number:
    count = b.umin32
    bits = tnum.cast(tnum.left(tnum.cast(a.bits, 32), count), 32)
    return bits_to_32(unbounded64(with_bits(_left32_ranges(a, count), bits)))


def _right(a: Number, b: Number) -> Number:
    count = b.umin
    n = _with(a, 64, FULL_SIGNED[64], (a.umin >> count, a.umax >> count))
    return bits_to_ranges(unbounded32(with_bits(n, tnum.right(a.bits, count))))


def _right32(a: Number, b: Number) -> Number:
    count = b.umin32
    n = _with(a, 32, FULL_SIGNED[32], (a.umin32 >> count, a.umax32 >> count))
    n = with_bits(n, tnum.right(tnum.cast(a.bits, 32), count))
    return bits_to_32(unbounded64(n))


def _right_signed(a: Number, b: Number) -> Number:
    count = b.umin
    n = _with(a, 64, (a.smin >> count, a.smax >> count), FULL[64])
    return bits_to_ranges(unbounded32(with_bits(n, tnum.right_signed(a.bits, count, 64))))


def _right_signed32(a: Number, b: Number) -> Number:
    count = b.umin32
    n = _with(a, 32, (a.smin32 >> count, a.smax32 >> count), FULL[32])
    n = with_bits(n, tnum.right_signed(a.bits, count, 32))
    return bits_to_32(unbounded64(n))


_ROWS: dict[str, tuple[Callable[[Number, Number], Number], ...]] = {
    "ADD": (_add, _add),
    "SUB": (_subtract, _subtract),
    "MUL": (_multiply, _multiply),
    "AND": (_and, _and),
    "OR": (_or, _or),
    "XOR": (_xor, _xor),
    "NEG": (_negate, _negate),
    "LSH": (_left, _left32),
    "RSH": (_right, _right32),
    "ARSH": (_right_signed, _right_signed32),
}
"""Operation -> what computes it on 64 and on 32 bits."""

OPERATIONS = {
    int(Op[f"{name}{bits}"]): (function, bits)
    for name, pair in _ROWS.items()
    for function, bits in zip(pair, (64, 32), strict=True)
}
_SHIFTS = frozenset(int(Op[f"{n}{b}"]) for n in ("LSH", "RSH", "ARSH") for b in (64, 32))


@lru_cache(maxsize=MANY)
def compute(op: int, a: Number, b: Number) -> Number:
    """What is known of `a op b`, where `op` is an isa.Op of arithmetic."""
    row = OPERATIONS.get(op)
    if row is None or (op in _SHIFTS and not _known_distance(b, row[1])):
        return UNKNOWN
    function, bits = row
    n = function(a, b)
    return consistent(synced(n if bits == 64 else zero_extended(n)))


def _known_distance(b: Number, bits: int) -> bool:
    known = not b.mask & FULL[bits][1] and b.umax < bits
    s, u = _signed_of(b, bits), _unsigned_of(b, bits)
    return known and s[0] == s[1] and u[0] == u[1]


_ENDS = {
    int(Op[f"{name}{bits}"]): (name != "LE", bits)
    for name in ("LE", "BE", "BSWAP")
    for bits in (16, 32, 64)
}
"""Byte swaps as a little-endian machine does them: whether bytes are exchanged, and how many."""


@lru_cache(maxsize=FEW)
def byte_order(op: int, n: Number) -> Number:
    """What is known of a number after le16 to bswap64. Source: scalar_byte_swap."""
    swaps, bits = _ENDS[op]
    if swaps:
        n = with_bits(UNKNOWN, tnum.swapped(n.bits, bits))
    return consistent(synced(truncated(n, bits) if bits < 64 else n))


@lru_cache(maxsize=FEW)
def shifted_by(n: Number, distance: int, bits: int) -> Number:
    """What is known of a number plus a constant, added in 64 or 32 bits."""
    total = _add(n, constant(distance))
    return synced(total if bits == 64 else zero_extended(total))
