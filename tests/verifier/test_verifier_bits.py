"""Tristate numbers of 8 bits: every operation on every pair of sets, against all their members.

A set is one of 3**8 words of 0, 1 and "unknown". For each pair, the bits that all results have, and
those that any has, come from the table of all 256 * 256 results by combining halves bit by bit.
"""

from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
from oracles.naive_numbers import signed, swapped

from workbench.verifier.values import tnum
from workbench.verifier.values.tnum import MASK, Tnum

BITS = 8
ALL = np.arange(1 << BITS, dtype=np.uint64)


def word_of(digits: tuple[int, ...]) -> Tnum:
    value, mask = (int("".join(str(int(d == k)) for d in digits), 2) for k in (1, 2))
    return Tnum(value, mask)


SETS = [word_of(digits) for digits in product(range(3), repeat=BITS)]
VALUES, MASKS = (np.array(column, np.uint64) for column in zip(*SETS, strict=True))
MEMBERS = [np.flatnonzero(~((ALL ^ np.uint64(s.value)) & np.uint64(~s.mask & MASK))
                          .astype(bool)) for s in SETS]  # fmt: skip


def per_set(row: np.ndarray, combine: np.ufunc) -> np.ndarray:
    """From 256 results to one for each of 3**8 sets, combined over the set's members."""
    cube = row.reshape([2] * BITS)
    for axis in range(BITS):
        both = combine.reduce(cube, axis=axis, keepdims=True)
        cube = np.concatenate([cube, both], axis=axis)
    return cube.reshape(-1)


def check_every_pair(
    abstract: Callable[[Tnum, Tnum], Tnum], results: np.ndarray, step: int
) -> float:
    """Whether results lie in the abstract ones; the share of pairs where nothing better exists."""
    best, tried = 0, range(0, len(SETS), step)
    for at in tried:
        rows = results[MEMBERS[at]]
        ones = per_set(np.bitwise_and.reduce(rows), np.bitwise_and)
        some = per_set(np.bitwise_or.reduce(rows), np.bitwise_or)
        parts = abstract(SETS[at], Tnum(VALUES, MASKS))
        found = Tnum(*(np.zeros(len(SETS), np.uint64) | part for part in parts))
        assert not (found.value & ~ones).any(), f"{SETS[at]}: a bit is not always 1"
        assert not (some & ~(found.value | found.mask)).any(), f"{SETS[at]}: a bit is not always 0"
        best += int((found.mask == some & ~ones).sum())
    return best / (len(tried) * len(SETS))


OPERATIONS = [
    (tnum.add, np.add, 1.0),
    (tnum.subtract, np.subtract, 1.0),
    (tnum.multiply, np.multiply, 0.7),
    (tnum.conjunction, np.bitwise_and, 1.0),
    (tnum.disjunction, np.bitwise_or, 1.0),
    (tnum.exclusive, np.bitwise_xor, 1.0),
]


@pytest.mark.parametrize(("abstract", "concrete", "exact"), OPERATIONS, ids=lambda f: str(f))
def test_operations_on_every_pair_of_sets(
    abstract: Callable[[Tnum, Tnum], Tnum],
    concrete: np.ufunc,
    exact: float,
    scale: Callable[[int, int], int],
) -> None:
    """All 43 million pairs in deep. Only multiplication is less than optimal."""
    step = scale(20 if exact == 1 else 100, 1)
    assert check_every_pair(abstract, concrete.outer(ALL, ALL), step) >= exact


def test_relations_of_every_pair_of_sets(scale: Callable[[int, int], int]) -> None:
    belongs = np.zeros((len(SETS), 256), np.float32)
    for row, members in zip(belongs, MEMBERS, strict=True):
        row[members] = 1
    for at in range(0, len(SETS), scale(20, 1)):
        a, everything = SETS[at], Tnum(VALUES, MASKS)
        shared, size = belongs @ belongs[at], len(MEMBERS[at])
        joined = tnum.union(a, everything)
        assert not ((joined.value ^ a.value | a.mask) & ~joined.mask).any()
        assert not ((joined.value ^ VALUES | MASKS) & ~joined.mask).any()
        common = tnum.intersect(a, everything)
        for other in range(0, len(SETS), 97):
            b = SETS[other]
            assert tnum.overlap(a, b) == bool(shared[other])
            assert tnum.within(a, b) == (shared[other] == size)
            if shared[other]:
                found = Tnum(int(common.value[other]), int(common.mask[other]))
                assert 1 << found.mask.bit_count() == shared[other]


def holds_exactly(found: Tnum, results: np.ndarray) -> bool:
    ones, some = np.bitwise_and.reduce(results), np.bitwise_or.reduce(results)
    return found == (int(ones), int(some & ~ones))


def test_shifts_of_every_set_are_optimal() -> None:
    for at, a in enumerate(SETS):
        members = MEMBERS[at].astype(np.uint64)
        for count in (0, 1, 7, 57, 63):
            assert holds_exactly(tnum.left(a, count), members << np.uint64(count))
            assert holds_exactly(tnum.right(a, count), members >> np.uint64(count))


@pytest.mark.parametrize("bits", [32, 64])
def test_signed_shifts_of_every_set_are_optimal(bits: int) -> None:
    """The eight bits are the highest, so that the sign is among them."""
    up, full = bits - BITS, (1 << bits) - 1
    for at, a in enumerate(SETS[::7]):
        high = Tnum(a.value << up, a.mask << up)
        for count in (0, 1, 31, bits - 1):
            results = [signed(int(x) << up, bits) >> count & full for x in MEMBERS[7 * at]]
            found = tnum.right_signed(high, count, bits)
            assert holds_exactly(found, np.array(results, np.uint64)), (a, count)


def test_parts_and_byte_orders_of_every_set_are_optimal() -> None:
    for at, a in enumerate(SETS[::7]):
        spread = Tnum(a.value << 12, a.mask << 12)
        members = [int(x) << 12 for x in MEMBERS[7 * at]]
        for bits in (8, 16, 32):
            cut = np.array([x & (1 << bits) - 1 for x in members], np.uint64)
            assert holds_exactly(tnum.cast(spread, bits), cut)
        for bits in (16, 32, 64):
            turned = np.array([swapped(x, bits) for x in members], np.uint64)
            assert holds_exactly(tnum.swapped(spread, bits), turned)
        negative = np.array([-x & MASK for x in members], np.uint64)
        assert holds_exactly(tnum.negate(spread), negative)


def test_steps_through_every_set() -> None:
    for at, a in enumerate(SETS[::7]):
        members = [int(x) for x in MEMBERS[7 * at]]
        for number in range(256):
            above = [x for x in members if x > number]
            assert tnum.step(a, number) == (above[0] if above else members[-1]), (a, number)


def test_sets_between_numbers_are_the_smallest() -> None:
    for low in range(256):
        for high in range(low, 256, 5):
            found = tnum.between(low, high)
            assert all(tnum.contains(found, x) for x in (low, high, (low + high) // 2))
            assert found.mask < 2 * max(high ^ low, 1)
