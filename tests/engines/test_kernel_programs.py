"""Judge: random valid programs leave the same behind on Linux, the interpreter and the oracle.

Compared are r0 (the low half as returned, all of it in the context), the context, which arena pages
are present, all their bytes, and the free ranges. Both engines use an arena at the same user base,
so stored pointers are equal too.
"""

from collections import Counter
from collections.abc import Callable

import pytest
from generate import NO_USER_CONV, Case, generate
from support.agreement import Final, as_by_kernel, by_interpreter, by_kernel, by_naive, difference
from support.bpf_probe import refusal

from workbench.errors import VerificationError

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(bool(refusal()), reason=refusal() or "-")]

REFUSED = 0.03  # of the programs, at most: other kernels may know fewer instructions


def judge(case: Case) -> Final | None:
    """Run a case everywhere; returns what Linux made of it, or nothing if it refused."""
    try:
        linux = by_kernel(case)
    except VerificationError:
        return None
    for name, run in (("oracle", by_naive), ("interpreter", by_interpreter)):
        found = as_by_kernel(run(case, verified=True))
        assert found == linux, f"{case} on the {name}: {difference(linux, found)}"
    return linux


def test_random_programs(scale: Callable[[int, int], int]) -> None:
    """2,000 programs in CI, 20,000 in `make deep`; sizes from 10 to 300 instructions."""
    count = scale(2000, 20_000)
    modes: Counter[bool | str] = Counter()
    for seed in range(1_000_000, 1_000_000 + count):
        case = generate(seed)
        linux = judge(case)
        modes["refused" if linux is None else bool(case.flags & NO_USER_CONV)] += 1
    assert modes["refused"] <= REFUSED * count
    assert min(modes[False], modes[True]) > count / 3
