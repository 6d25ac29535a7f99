"""Conversion: casts counted by hand, and the same program run both ways."""

import numpy as np
import pytest

import workbench as wb
from workbench.bpf.isa import Op
from workbench.errors import WorkbenchError
from workbench.models import conversion

STORES = """
    r6 = r1
    r1 = arena ll
    r2 = 0
    r3 = 1
    r4 = -1
    r5 = 0
    call bpf_arena_alloc_pages
    r7 = r0                 ; the page, as user space sees it
    r8 = 0
loop:
    r1 = cast_kern(r7)      ; 10 times
    r2 = r1
    r2 += 16
    r3 = cast_user(r2)      ; 10 times, into another register
    *(u64 *)(r1 + 0) = r3
    r8 += 1
    if r8 < 10 goto loop
    r2 = cast_user(r2)      ; once, in place
    r0 = 0
    exit
"""
BEFORE, LOOP, AFTER = 10, 7, 3  # slots; `r1 = arena ll` takes two


@pytest.fixture(scope="module")
def program():
    return wb.assemble(STORES, name="stores")


@pytest.fixture(scope="module")
def counts():
    return np.array([1] * 2 + [0] + [1] * 7 + [10] * LOOP + [1] * AFTER, np.uint64)


def test_the_counts_fit_the_program(program, counts):
    assert len(program) == len(counts) == BEFORE + LOOP + AFTER


def test_casts_with_conversion(program, counts):
    casts = conversion.count_casts(program.instructions, counts, no_user_conv=False)
    assert casts == conversion.Casts(
        instructions_executed=9 + 70 + 3,
        cast_kern_static=1,
        cast_kern_executed=10,
        conversions_static=2,
        conversions_executed=11,
        moves_static=0,
        moves_executed=0,
        native=10 * 1 + 10 * 7 + 1 * 6,
    )


def test_casts_without_conversion(program, counts):
    casts = conversion.count_casts(program.instructions, counts, no_user_conv=True)
    assert (casts.conversions_static, casts.conversions_executed) == (0, 0)
    assert (casts.moves_static, casts.moves_executed) == (2, 11)
    assert casts.native == 10 + 11


def test_a_program_without_casts_costs_nothing():
    program = wb.assemble("r0 = 0\nexit")
    casts = conversion.count_casts(program.instructions, np.ones(2, np.uint64), False)
    assert casts.native == casts.conversions_executed == casts.cast_kern_executed == 0
    assert casts.instructions_executed == 2


def test_counts_of_another_program_are_refused(program):
    with pytest.raises(ValueError, match="3 counts for 20 instructions"):
        conversion.count_casts(program.instructions, np.zeros(3, np.uint64), False)


def test_compare_runs_both_ways(program):
    frame = conversion.compare(program, pages=4)
    assert list(frame.columns) == list(conversion.COLUMNS)
    assert set(frame["kind"]) == {"model"}
    value = frame.pivot(index="metric", columns="flag", values="value")
    assert value.loc["instructions_executed"].tolist() == [82, 82]
    assert value.loc["conversions_executed"].to_dict() == {"conversion": 11, "no_user_conv": 0}
    assert value.loc["moves_executed"].to_dict() == {"conversion": 0, "no_user_conv": 11}
    assert value.loc["native"].to_dict() == {"conversion": 86, "no_user_conv": 21}


def test_the_verifier_makes_moves_of_the_same_casts(program):
    xlated = wb.verify(program, flags=wb.ArenaFlags.NO_USER_CONV).xlated
    casts = program.instructions["op"] == Op.CAST_USER
    assert (xlated["op"][casts] == Op.MOV32).all()


def test_half_a_run_compares_nothing():
    endless = wb.assemble(
        "r1 = arena ll\nr0 = 0\nloop:\nmay_goto out\ngoto loop\nout: exit", name="endless"
    )
    with pytest.raises(WorkbenchError, match="endless did not come to its exit"):
        conversion.compare(endless, pages=1, fuel=100)
