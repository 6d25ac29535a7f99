"""What is known of a 64-bit number: ranges as signed and unsigned, of 64 and 32 bits, and its bits.

Every operation narrows each of the five views by the others (`synced`). Values are immutable and
functions pure, so results can be remembered. Source: reg_bounds_sync in kernel/bpf/verifier.c.
"""

from functools import lru_cache
from typing import NamedTuple

from workbench.verifier.values import tnum
from workbench.verifier.values.tnum import LOW, MASK, Tnum

S64_MIN, S64_MAX = -(1 << 63), (1 << 63) - 1
S32_MIN, S32_MAX = -(1 << 31), (1 << 31) - 1
HIGH = MASK ^ LOW
FEW, MANY = 1 << 14, 1 << 16
"""Results that functions of numbers remember: an entry takes 300 to 450 bytes, so 5 or 30 MB each.

All example programs need 421 of `compute`, which answer 97 % of its calls.
"""


class Number(NamedTuple):
    """Inclusive ranges [smin, smax], [umin, umax] and those of the low 32 bits; value and mask."""

    smin: int
    smax: int
    umin: int
    umax: int
    smin32: int
    smax32: int
    umin32: int
    umax32: int
    value: int
    mask: int

    @property
    def bits(self) -> Tnum:
        """The tristate number."""
        return Tnum(self.value, self.mask)

    @property
    def known(self) -> bool:
        """Whether it is one number."""
        return not self.mask

    @property
    def width(self) -> int:
        """How many bits it needs at most."""
        return self.umax.bit_length()


UNKNOWN = Number(S64_MIN, S64_MAX, 0, MASK, S32_MIN, S32_MAX, 0, LOW, 0, MASK)


def signed(number: int, bits: int = 64) -> int:
    """Read the low bits of a number as two's complement."""
    sign = 1 << (bits - 1)
    return (number & (2 * sign - 1) ^ sign) - sign


@lru_cache(maxsize=FEW)
def constant(number: int) -> Number:
    """What is known of one number."""
    u, low = number & MASK, number & LOW
    s, s32 = signed(u), signed(low, 32)
    return Number(s, s, u, u, s32, s32, low, low, u, 0)


ZERO = constant(0)


def is_constant(n: Number) -> bool:
    """Whether it is one number in every view."""
    return not n.mask and n == constant(n.value)


def contains(n: Number, number: int) -> bool:
    """Whether a number of 64 unsigned bits is possible."""
    low = number & LOW
    return (
        n.umin <= number <= n.umax
        and n.smin <= signed(number) <= n.smax
        and n.umin32 <= low <= n.umax32
        and n.smin32 <= signed(low, 32) <= n.smax32
        and tnum.contains(n.bits, number)
    )


def with_bits(n: Number, bits: Tnum) -> Number:
    """A number with other known bits, its ranges as they were."""
    return n._replace(value=bits.value, mask=bits.mask)


def with_low(n: Number, low: int) -> Number:
    """A number with known low 32 bits; not yet synced."""
    part = constant(low)
    return part._replace(
        smin=n.smin, smax=n.smax, umin=n.umin, umax=n.umax,
        **tnum.with_low(n.bits, part.bits)._asdict(),
    )  # fmt: skip


def unbounded(n: Number) -> Number:
    """A number without its ranges; its known bits stay."""
    return UNKNOWN._replace(value=n.value, mask=n.mask)


def unbounded32(n: Number) -> Number:
    """A number without the ranges of its low 32 bits."""
    return n._replace(smin32=S32_MIN, smax32=S32_MAX, umin32=0, umax32=LOW)


def unbounded64(n: Number) -> Number:
    """A number without its 64-bit ranges; those of the low 32 bits stay."""
    return n._replace(smin=S64_MIN, smax=S64_MAX, umin=0, umax=MASK)


def bits_to_32(n: Number) -> Number:
    """A number's 32-bit ranges narrowed by its known bits."""
    value, mask = n.value & LOW, n.mask & LOW
    return n._replace(
        smin32=max(n.smin32, signed(value | mask & 1 << 31, 32)),
        smax32=min(n.smax32, signed(value | mask & S32_MAX, 32)),
        umin32=max(n.umin32, value),
        umax32=min(n.umax32, value | mask),
    )


def bits_to_ranges(n: Number) -> Number:
    """All ranges of a number narrowed by its known bits; the constant where one number is left."""
    value, mask = n.value, n.mask
    n = bits_to_32(n)._replace(
        smin=max(n.smin, signed(value | mask & 1 << 63)),
        smax=min(n.smax, signed(value | mask & S64_MAX)),
        umin=max(n.umin, value),
        umax=min(n.umax, value | mask),
    )
    only = _only(n)
    return n if only is None else constant(only)


def _only(n: Number) -> int | None:
    """The one number in the unsigned range that has the known bits, if there is but one.

    Linux takes the largest number with these bits without a look at the end of the range.
    """
    following = tnum.step(n.bits, n.umin)
    if tnum.contains(n.bits, n.umin):
        return n.umin if following > n.umax else None
    if following == n.value | n.mask:
        return following
    alone = following <= n.umax < tnum.step(n.bits, following)
    return following if alone else None


def _narrow32_signed(n: Number, low: int, high: int) -> Number:
    low, high = signed(low, 32), signed(high, 32)
    return n._replace(smin32=max(n.smin32, low), smax32=min(n.smax32, high))


def _narrow32_unsigned(n: Number, low: int, high: int) -> Number:
    return n._replace(umin32=max(n.umin32, low & LOW), umax32=min(n.umax32, high & LOW))


def _low_halves(n: Number) -> Number:
    """A 64-bit range with one upper half, or two that follow each other, narrows the low half."""
    for low, high, is_signed in ((n.umin, n.umax, False), (n.smin, n.smax, True)):
        ordered = signed(low, 32) <= signed(high, 32)
        if low >> 32 == high >> 32:
            if not is_signed or low & LOW <= high & LOW:
                n = _narrow32_unsigned(n, low, high)
            if ordered:
                n = _narrow32_signed(n, low, high)
    for low, high in ((n.umin, n.umax), (n.smin, n.smax)):
        follows = (low >> 32) + 1 & LOW == high >> 32 & LOW
        if follows and signed(low, 32) < 0 <= signed(high, 32):
            n = _narrow32_signed(n, low, high)
    return n


def _signs32(n: Number) -> Number:
    """Where the low half cannot change its sign, both 32-bit ranges are one.

    They also narrow each other where the unsigned range meets only one end of the signed one.
    """
    if signed(n.umin32, 32) <= signed(n.umax32, 32):
        n = _narrow32_signed(n, n.umin32, n.umax32)
    low, high = n.smin32 & LOW, n.smax32 & LOW
    if low <= high:
        return n._replace(umin32=max(n.umin32, low), umax32=min(n.umax32, high))
    if n.umax32 < low:
        return n._replace(smin32=signed(n.umin32, 32), umax32=min(n.umax32, high))
    if high < n.umin32:
        return n._replace(smax32=signed(n.umax32, 32), umin32=max(n.umin32, low))
    return n


def _signs64(n: Number) -> Number:
    """Where a number cannot change its sign, its 64-bit ranges are one; see `_signs32`."""
    if signed(n.umin) <= signed(n.umax):
        n = n._replace(smin=max(n.smin, signed(n.umin)), smax=min(n.smax, signed(n.umax)))
    low, high = n.smin & MASK, n.smax & MASK
    if low <= high:
        return n._replace(umin=max(n.umin, low), umax=min(n.umax, high))
    if n.umax < low:
        return n._replace(smin=signed(n.umin), umax=min(n.umax, high))
    if high < n.umin:
        return n._replace(smax=signed(n.umax), umin=max(n.umin, low))
    return n


def _mixed(n: Number) -> Number:
    """The low half's range narrows both ends of the 64-bit ranges."""
    n = n._replace(
        umin=max(n.umin, n.umin & HIGH | n.umin32),
        umax=min(n.umax, n.umax & HIGH | n.umax32),
        smin=max(n.smin, signed(n.smin & HIGH | n.umin32)),
        smax=min(n.smax, signed(n.smax & HIGH | n.umax32)),
    )
    if n.smin32 < 0 or n.smin < S32_MIN or n.smax > S32_MAX:
        return n
    low, high = n.smin32, n.smax32  # after a sign extension the upper half can only be 0
    n = n._replace(smin=low, smax=high, umin=low, umax=high & MASK)
    return with_bits(n, tnum.intersect(n.bits, tnum.between(low & MASK, high & MASK)))


def _ranges_to_bits(n: Number) -> Number:
    """Narrow the known bits by the unsigned ranges."""
    whole = tnum.intersect(n.bits, tnum.between(n.umin, n.umax))
    low = tnum.intersect(tnum.cast(whole, 32), tnum.between(n.umin32, n.umax32))
    return with_bits(n, tnum.with_low(whole, low))


def synced(n: Number) -> Number:
    """Narrow every view of a number by the others, as far as Linux does."""
    if is_constant(n):
        return n
    n = bits_to_ranges(n)
    for _ in range(3):
        before, n = n, _mixed(_signs64(_signs32(_low_halves(n))))
        if n == before:
            break
    return bits_to_ranges(_ranges_to_bits(n))


def consistent(n: Number) -> Number:
    """The number, or without its ranges where these contradict each other (a dead path)."""
    ordered = (
        n.umin <= n.umax and n.smin <= n.smax and n.umin32 <= n.umax32 and n.smin32 <= n.smax32
    )
    exact = n.mask or n[:4] == constant(n.value)[:4]
    exact32 = n.mask & LOW or n[4:8] == constant(n.value)[4:8]
    return n if ordered and exact and exact32 else unbounded(n)


def zero_extended(n: Number) -> Number:
    """What is left of a number when its upper 32 bits become 0; not yet synced."""
    n = with_bits(n, tnum.cast(n.bits, 32))._replace(umin=n.umin32, umax=n.umax32)
    if n.smin32 >= 0:
        return n._replace(smin=n.smin32, smax=n.smax32)
    return n._replace(smin=0, smax=LOW)


@lru_cache(maxsize=FEW)
def low_word(n: Number) -> Number:
    """The low 32 bits of a number, zero-extended."""
    return synced(zero_extended(n))


@lru_cache(maxsize=FEW)
def truncated(n: Number, bits: int) -> Number:
    """The low 8, 16 or 32 bits of a number, zero-extended. Source: coerce_reg_to_size."""
    full = (1 << bits) - 1
    n = with_bits(n, tnum.cast(n.bits, bits))
    if n.umin & ~full == n.umax & ~full:
        n = n._replace(umin=n.umin & full, umax=n.umax & full)
    else:
        n = n._replace(umin=0, umax=full)
    n = n._replace(smin=n.umin, smax=n.umax)
    return synced(unbounded32(n) if bits < 32 else n)


@lru_cache(maxsize=FEW)
def extended(n: Number, bits: int) -> Number:
    """The low 8, 16 or 32 bits of a number, sign-extended to 64. Source: coerce_reg_to_size_sx."""
    if not n.mask:
        return constant(signed(n.value, bits))
    low, high = sorted((signed(n.smin, bits), signed(n.smax, bits)))
    if n.smin >> bits == n.smax >> bits and (low >= 0) == (high >= 0):
        u = tnum.between(low & MASK, high & MASK)
        return Number(low, high, low & MASK, high & MASK, low, high, low & LOW, high & LOW, *u)
    low, high = -(1 << bits - 1), (1 << bits - 1) - 1
    return UNKNOWN._replace(smin=low, smax=high, smin32=low, smax32=high)


@lru_cache(maxsize=FEW)
def extended32(n: Number, bits: int) -> Number:
    """The low 8 or 16 bits, sign-extended to 32 and then zero-extended to 64."""
    if not n.mask:
        return constant(signed(n.value, bits) & LOW)
    low, high = sorted((signed(n.smin32, bits), signed(n.smax32, bits)))
    if n.smin32 >> bits == n.smax32 >> bits and (low >= 0) == (high >= 0):
        u = tnum.cast(tnum.between(low & MASK, high & MASK), 32)
        n = n._replace(smin32=low, smax32=high, umin32=low & LOW, umax32=high & LOW)
        return synced(zero_extended(with_bits(n, u)))
    low, high = -(1 << bits - 1), (1 << bits - 1) - 1
    n = n._replace(smin32=low, smax32=high, umin32=0, umax32=LOW, value=0, mask=LOW)
    return synced(zero_extended(n))


def covers(outer: Number, inner: Number) -> bool:
    """Whether every range and bit of `inner` lies within those of `outer`."""
    return outer is inner or (
        outer.umin <= inner.umin
        and outer.umax >= inner.umax
        and outer.smin <= inner.smin
        and outer.smax >= inner.smax
        and outer.umin32 <= inner.umin32
        and outer.umax32 >= inner.umax32
        and outer.smin32 <= inner.smin32
        and outer.smax32 >= inner.smax32
        and tnum.within(inner.bits, outer.bits)
    )
