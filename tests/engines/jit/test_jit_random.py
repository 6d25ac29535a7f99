"""The jit against the interpreter and Linux: random programs, damaged ones, and their counts."""

import contextlib
import random
from collections.abc import Callable

import pytest
from generate import Case, generate
from generate.damage import broken
from support.agreement import (
    TOO_COMPLEX,
    as_by_kernel,
    by_kernel,
    difference,
    emulated_arena,
    program_of,
)
from support.both_engines import agree, check, left_by
from support.kernel_support import REASON

import workbench as wb
from workbench.errors import DecodeError, Unsupported, VerificationError


def judged(case: Case) -> bool:
    """Hold all engines to the same answer; False if the program is refused.

    Interpreter and jit: r0, stop, steps, context, pages, bytes, free ranges and events, times
    included. Linux, where it can be asked: all of these but steps and events.
    """
    program = program_of(case)
    try:
        linux = None if REASON else by_kernel(case)
        one, other = (
            left_by(engine, program, emulated_arena(case), case.ctx)
            for engine in (wb.Interpreter, wb.Jit)
        )
    except VerificationError:
        return False
    assert agree(one, other, case) == "exit"
    found = as_by_kernel(other.final)
    assert linux in (None, found), f"{case}: {difference(linux or found, found)}"
    return True


def test_all_engines_agree(scale: Callable[[int, int], int]) -> None:
    """Random verified programs; few does Linux refuse."""
    count = scale(100, 50_000)
    agreed = sum(judged(generate(seed)) for seed in range(2_000_000, 2_000_000 + count))
    assert agreed >= 0.97 * count


def test_unverified_programs(scale: Callable[[int, int], int]) -> None:
    for seed in range(2_100_000, 2_100_000 + scale(60, 3000)):
        check(generate(seed), verify=False, raw=bool(seed % 2))


def test_runs_cut_short(scale: Callable[[int, int], int]) -> None:
    """Out of fuel after exactly as many steps, in the same state."""
    for seed in range(2_200_000, 2_200_000 + scale(60, 3000)):
        check(generate(seed), fuel=random.Random(seed).randrange(1000))


def test_broken_programs_do_the_same_wrong_things(scale: Callable[[int, int], int]) -> None:
    stops = set()
    for seed in range(2_300_000, 2_300_000 + scale(130, 5000)):
        case = broken(generate(seed), random.Random(seed))
        with contextlib.suppress(DecodeError, Unsupported):
            stops.add(check(case, verify=False, fuel=2000))
    assert {"exit", "fault", "fuel"} <= stops


@pytest.mark.parametrize("trace", ["counts", "blocks", "pages", "faults"])
@pytest.mark.parametrize("verify", [True, False])
def test_counts_are_those_of_the_interpreter(
    trace: str, verify: bool, scale: Callable[[int, int], int]
) -> None:
    begin = 2_400_000
    into_wide = begin + 1579  # broken, it jumps into the middle of a wide instruction
    for seed in (into_wide, *range(begin, begin + scale(8, 2000))):
        fuel = random.Random(seed).choice((None, 700))
        case = generate(seed)
        if not verify:
            case = broken(case, random.Random(seed))
            fuel = 2000
        with contextlib.suppress(DecodeError, Unsupported):
            try:
                check_counts(case, trace, verify, fuel)
            except VerificationError as refusal:
                if refusal.reason != TOO_COMPLEX:
                    raise


def check_counts(case: Case, trace: str, verify: bool, fuel: int | None) -> None:
    program, traces = program_of(case), []
    for engine in (wb.Interpreter, wb.Jit):
        with engine(program, arena=emulated_arena(case), verify=verify) as machine:
            traces.append(machine.run(case.ctx, fuel=fuel, trace=trace).trace)
    one, other = traces
    assert one is not None
    assert other is not None
    assert one.events.equals(other.events)
    assert (one.counted is None) == (other.counted is None)
    if one.counted is not None:
        assert one.counts.tolist() == other.counts.tolist(), case
    if one.page_counts is not None:
        assert one.page_counts.equals(other.page_counts), case
