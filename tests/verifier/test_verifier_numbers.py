"""What the verifier knows of numbers is true: every result of an operation lies in its answer."""

import random
from collections.abc import Callable, Iterator
from itertools import combinations_with_replacement, product

import numpy as np
import pytest
from oracles.naive_numbers import arithmetic, byte_order, holds, signed

from workbench.bpf.isa import Op
from workbench.verifier.rules.facts import ALU_BINARY
from workbench.verifier.values import arithmetic as transfer
from workbench.verifier.values import branches, numbers, pointers
from workbench.verifier.values.arithmetic import OPERATIONS, compute
from workbench.verifier.values.branches import COMPARISONS
from workbench.verifier.values.domain import CTX, MAP_VALUE, STACK, Value
from workbench.verifier.values.numbers import UNKNOWN, Number, contains, synced
from workbench.verifier.values.tnum import LOW, MASK, between

Scale = Callable[[int, int], int]
WIRE = dict(ADD=0, SUB=0x10, MUL=0x20, DIV=0x30, SDIV=0x30, OR=0x40, AND=0x50, LSH=0x60, RSH=0x70)
WIRE |= dict(MOD=0x90, SMOD=0x90, XOR=0xA0, ARSH=0xC0)
JUMPS = dict(JEQ=0x10, JGT=0x20, JGE=0x30, JSET=0x40, JNE=0x50, JSGT=0x60, JSGE=0x70)
JUMPS |= dict(JLT=0xA0, JLE=0xB0, JSLT=0xC0, JSLE=0xD0)
EDGES = (0, 1, 2**7, 2**8, 2**15, 2**16, 2**31, 2**32, 2**63, 2**64 - 2**31, 2**64)


def result_of(op: Op, x: int, y: int) -> int:
    """What an instruction of arithmetic gives, by the other implementation."""
    name, bits = op.name[:-2], int(op.name[-2:])
    if name == "NEG":
        return arithmetic(WIRE["SUB"], 0, x, bits, 0)
    return arithmetic(WIRE[name], x, y, bits, int(name in ("SDIV", "SMOD")))


def number(rng: random.Random) -> int:
    """A number of any width, often near where some range begins or ends."""
    if rng.random() < 0.5:
        return (rng.choice(EDGES) + rng.randrange(-20, 20)) & MASK
    return rng.getrandbits(rng.choice((4, 8, 31, 32, 33, 63, 64)))


def around(rng: random.Random, x: int, low: int, high: int) -> tuple[int, int]:
    """A random range that holds `x`, within a wider one."""
    ends = [low, high]
    for n in range(2):
        if rng.random() < 0.6:
            near = x + (2 * n - 1) * rng.getrandbits(rng.choice((1, 4, 8, 16, 32, 60)))
            ends[n] = min(max(near, low), high)
    return ends[0], ends[1]


def about(rng: random.Random, x: int | None = None) -> tuple[Number, int]:
    """A number, and something true that could be known of it."""
    x = number(rng) if x is None else x
    low, mask = x & LOW, rng.getrandbits(64) if rng.random() < 0.5 else MASK
    known = Number(
        *around(rng, signed(x, 64), -(2**63), 2**63 - 1),
        *around(rng, x, 0, MASK),
        *around(rng, signed(low, 32), -(2**31), 2**31 - 1),
        *around(rng, low, 0, LOW),
        x & ~mask,
        mask,
    )
    return (numbers.constant(x) if rng.random() < 0.1 else synced(known)), x


def two(rng: random.Random) -> tuple[Number, int, Number, int]:
    a, x = about(rng)
    near = x if rng.random() < 0.2 else x ^ rng.getrandbits(2)
    b, y = about(rng, near if rng.random() < 0.4 else None)
    return a, x, b, y


def test_what_is_known_at_first_is_true(scale: Scale) -> None:
    rng = random.Random(0)
    for _ in range(scale(2_000, 200_000)):
        a, x = about(rng)
        assert contains(a, x), (a, x)


# Random numbers


@pytest.mark.parametrize("op", sorted({*OPERATIONS, *ALU_BINARY}), ids=lambda op: Op(op).name)
def test_arithmetic(op: int, scale: Scale) -> None:
    rng = random.Random(op)
    distances = op in transfer._SHIFTS
    for _ in range(scale(300, 100_000)):
        a, x, b, y = two(rng)
        if distances and rng.random() < 0.9:
            y = rng.randrange(64)
            b = numbers.constant(y)
        found = compute(op, a, b)
        assert contains(found, result_of(Op(op), x, y)), (a, b, x, y)


def test_byte_orders(scale: Scale) -> None:
    codes = {"LE": 0xD4, "BE": 0xDC, "BSWAP": 0xD7}
    for op, (_, bits) in transfer._ENDS.items():
        rng, code = random.Random(op), codes[Op(op).name.rstrip("0123456789")]
        for _ in range(scale(300, 30_000)):
            a, x = about(rng)
            assert contains(transfer.byte_order(op, a), byte_order(code, x, bits)), (a, x)


@pytest.mark.parametrize("bits", [8, 16, 32])
def test_parts_of_numbers(bits: int, scale: Scale) -> None:
    rng, full = random.Random(bits), (1 << bits) - 1
    for _ in range(scale(300, 100_000)):
        a, x = about(rng)
        assert contains(numbers.truncated(a, bits), x & full), (a, x)
        assert contains(numbers.extended(a, bits), signed(x, bits) & MASK), (a, x)
        assert contains(numbers.low_word(a), x & LOW)
        if bits < 32:
            assert contains(numbers.extended32(a, bits), signed(x, bits) & LOW), (a, x)


@pytest.mark.parametrize("op", COMPARISONS, ids=lambda op: Op(op).name)
def test_branches(op: int, scale: Scale) -> None:
    """Which way it goes is never wrong, and on that way both operands are what they were."""
    rng, (name, bits) = random.Random(op), COMPARISONS[op]
    for _ in range(scale(300, 100_000)):
        a, x, b, y = two(rng)
        way = holds(JUMPS[name], x, y, bits)
        assert branches.taken(op, a, b) in (None, way), (a, b, x, y)
        left, right = branches.refined(op, way, a, b)
        assert contains(left, x), (a, b, x, y)
        assert contains(right, y), (a, b, x, y)
        alone = holds(JUMPS[name], x, x, bits)
        assert contains(branches.refined_with_itself(op, alone, a), x), (a, x)


def test_distances_of_linked_numbers(scale: Scale) -> None:
    rng = random.Random(1)
    for _ in range(scale(300, 100_000)):
        a, x = about(rng)
        distance = signed(rng.getrandbits(32), 32) >> rng.randrange(32)
        assert contains(transfer.shifted_by(a, distance, 64), x + distance & MASK), (a, x)
        assert contains(transfer.shifted_by(a, distance, 32), x + distance & LOW), (a, x)


def test_pointers_that_move(scale: Scale) -> None:
    """The distance from where a pointer began is what was added, or the move is refused."""
    rng, moved = random.Random(2), 0
    for _ in range(scale(4_000, 400_000)):
        a, x = about(rng, rng.getrandbits(rng.choice((4, 20))))
        b, y = about(rng, rng.getrandbits(rng.choice((4, 20, 28))))
        off, kind = rng.randrange(-64, 64), rng.choice((CTX, MAP_VALUE, STACK))
        forward = rng.random() < 0.5
        pointer = Value(kind, a, off)
        found = pointers.move(Op.ADD64 if forward else Op.SUB64, 1, pointer, b, False)
        if isinstance(found, Value):
            distance = off + x + (y if forward else -y)
            assert contains(found.number, distance - found.off & MASK), (a, b, x, y)
            moved += 1
    assert moved > 100


def test_what_covers_another_holds_its_numbers(scale: Scale) -> None:
    rng, covered = random.Random(3), 0
    for _ in range(scale(4_000, 400_000)):
        a, x = about(rng)
        b, _ = about(rng)
        if numbers.covers(b, a):
            covered += 1
            assert contains(b, x), (a, b, x)
    assert covered > 20


# All ranges of a few numbers


def range_of(low: int, high: int) -> Number:
    """What is known where a number lies between two, either as signed or as unsigned."""
    if low < 0:
        return synced(UNKNOWN._replace(smin=low, smax=high))
    bits = between(low, high)
    return synced(UNKNOWN._replace(umin=low, umax=high, value=bits.value, mask=bits.mask))


def ranges_around(bases: tuple[int, ...], width: int) -> Iterator[tuple[int, int]]:
    for base in bases:
        for low, high in combinations_with_replacement(range(base, base + width), 2):
            if 0 <= high <= MASK and (low >= 0 or high < 2**63):
                yield low, high


def holds_all(n: Number, results: np.ndarray) -> bool:
    """Whether every one of an array of numbers of 64 unsigned bits is possible."""
    s, low = results.view(np.int64), results.astype(np.uint32)
    views = results, s, low, low.view(np.int32)
    ends = (n.umin, n.umax), (n.smin, n.smax), (n.umin32, n.umax32), (n.smin32, n.smax32)
    inside = all(
        a <= int(v.min()) and int(v.max()) <= b for v, (a, b) in zip(views, ends, strict=True)
    )
    return inside and not ((results ^ np.uint64(n.value)) & np.uint64(~n.mask & MASK)).any()


@pytest.mark.parametrize("op", OPERATIONS, ids=lambda op: Op(op).name)
def test_arithmetic_of_all_small_ranges(op: int, scale: Scale) -> None:
    """Around every number where some view of it wraps; of shifts, by every distance."""
    width = scale(3, 9)
    found = list(ranges_around((-width // 2, 2**31 - 1, 2**32 - 1, 2**63 - 1), width))
    others = [(n, n) for n in range(64)] if op in transfer._SHIFTS else found
    for (a, b), (c, d) in product(found, others):
        answer = compute(op, range_of(a, b), range_of(c, d))
        pairs = product(range(a, b + 1), range(c, d + 1))
        results = [result_of(Op(op), x & MASK, y & MASK) for x, y in pairs]
        assert holds_all(answer, np.array(results, np.uint64)), (a, b, c, d)


@pytest.mark.parametrize("op", OPERATIONS, ids=lambda op: Op(op).name)
def test_arithmetic_of_every_range_of_8_bits(op: int, scale: Scale) -> None:
    """All 32,896 ranges, with numbers of 8 bits: some of them here, all with a constant in deep."""
    found = list(ranges_around((0,), 256))[:: scale(509, 1)]
    for y in (1, 7, 31, 40, 63, 128, 255)[:: scale(3, 1)]:
        constant = numbers.constant(y)
        results = np.array([result_of(Op(op), x, y) for x in range(256)], np.uint64)
        for low, high in found:
            answer = compute(op, range_of(low, high), constant)
            assert holds_all(answer, results[low : high + 1]), (low, high, y)


@pytest.mark.parametrize("op", COMPARISONS, ids=lambda op: Op(op).name)
def test_branches_of_all_small_ranges(op: int, scale: Scale) -> None:
    name, bits = COMPARISONS[op]
    found = list(ranges_around((-2, 2**31 - 1, 2**32 - 1, 2**63 - 1), scale(3, 6)))
    for (a, b), (c, d) in product(found, repeat=2):
        left, right = range_of(a, b), range_of(c, d)
        pairs = [(x & MASK, y & MASK) for x in range(a, b + 1) for y in range(c, d + 1)]
        ways = [holds(JUMPS[name], x, y, bits) for x, y in pairs]
        answer = branches.taken(op, left, right)
        assert answer is None or set(ways) == {answer}, (a, b, c, d)
        for way in set(ways):
            first, second = branches.refined(op, way, left, right)
            kept = np.array(
                [pair for pair, w in zip(pairs, ways, strict=True) if w == way], np.uint64
            )
            assert holds_all(first, kept[:, 0].copy()), (a, b, c, d)
            assert holds_all(second, kept[:, 1].copy()), (a, b, c, d)
