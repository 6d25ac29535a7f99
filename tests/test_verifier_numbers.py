"""What the verifier knows of numbers is true: every result of an operation lies in its answer."""

import operator
import random
from collections.abc import Callable
from itertools import product

import pytest

from workbench.isa import Op
from workbench.verifier import tnum
from workbench.verifier.arithmetic import compute
from workbench.verifier.numbers import Number, contains, signed, synced
from workbench.verifier.tnum import Tnum

ALL = 2**64 - 1
SMALL = [Tnum(value, mask) for value, mask in product(range(16), repeat=2) if not value & mask]
TNUMS = [
    (tnum.add, operator.add),
    (tnum.subtract, operator.sub),
    (tnum.multiply, operator.mul),
    (tnum.conjunction, operator.and_),
    (tnum.disjunction, operator.or_),
    (tnum.exclusive, operator.xor),
]
OPERATIONS = [
    (Op.ADD64, operator.add),
    (Op.SUB64, operator.sub),
    (Op.MUL64, operator.mul),
    (Op.AND64, operator.and_),
    (Op.OR64, operator.or_),
    (Op.XOR64, operator.xor),
]


def members(a: Tnum) -> list[int]:
    return [number for number in range(16) if tnum.contains(a, number)]


@pytest.mark.parametrize(("abstract", "concrete"), TNUMS, ids=lambda f: f.__name__)
def test_known_bits_of_all_small_numbers(
    abstract: Callable[[Tnum, Tnum], Tnum], concrete: Callable[[int, int], int]
) -> None:
    for a, b in product(SMALL, repeat=2):
        found = abstract(a, b)
        for x, y in product(members(a), members(b)):
            assert tnum.contains(found, concrete(x, y) & ALL), (a, b, x, y)


def about(rng: random.Random) -> tuple[Number, int]:
    """A range or a set of bits of some width, with a number that lies in it."""
    width = rng.choice((4, 8, 31, 32, 33, 63, 64))
    low, high = sorted(rng.getrandbits(width) for _ in range(2))
    number = rng.randint(low, high)
    if rng.random() < 0.5:
        s = (signed(low), signed(high)) if signed(low) <= signed(high) else (-(2**63), 2**63 - 1)
        bits = tnum.between(low, high)
        n = Number(*s, low, high, -(2**31), 2**31 - 1, 0, 2**32 - 1, bits.value, bits.mask)
        return synced(n), number
    mask = rng.getrandbits(width)
    n = Number(-(2**63), 2**63 - 1, 0, ALL, -(2**31), 2**31 - 1, 0, 2**32 - 1, number & ~mask, mask)
    return synced(n), number


@pytest.mark.parametrize(("op", "concrete"), OPERATIONS, ids=lambda f: getattr(f, "name", ""))
def test_ranges_hold_every_result(
    op: Op, concrete: Callable[[int, int], int], scale: Callable[[int, int], int]
) -> None:
    rng = random.Random(int(op))
    for _ in range(scale(2_000, 200_000)):
        (a, x), (b, y) = about(rng), about(rng)
        assert contains(a, x)
        assert contains(b, y)
        assert contains(compute(int(op), a, b), concrete(x, y) & ALL), (a, b, x, y)
