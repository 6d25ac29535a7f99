"""Quick machine code hands over to good code, in the midst of a run or before the next one."""

import random
from collections.abc import Callable, Iterator

import pytest
from generate import generate
from support.agreement import emulated_arena, program_of

import workbench as wb
from workbench.engines.jit import tiers
from workbench.errors import VerificationError

LOOPS = """
r6 = 0
r7 = 0
r8 = 0
outer:
    r9 = 0
inner:
    r6 += r9
    r6 *= 31
    r8 ^= r6
    r9 += 1
    if r9 < 9 goto inner
    r1 = r8
    call mix
    r8 = r0
    *(u64 *)(r10 - 8) = r8
    r7 += 1
    may_goto done
    goto outer
done:
    r0 = r8
    r0 += r7
    r1 = *(u64 *)(r10 - 8)
    r0 ^= r1
    exit
mix:
    r2 = 5
turn:
    r1 *= 3
    r2 -= 1
    if r2 != 0 goto turn
    r0 = r1
    exit
"""


@pytest.fixture
def handed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """The slots where good code has taken over; no code is on disk."""
    slots: list[int] = []
    plain = tiers.Tiers.going_on

    def going_on(self: tiers.Tiers, pc: int) -> object:
        slots.append(pc)
        return plain(self, pc)

    monkeypatch.setattr(tiers.Tiers, "going_on", going_on)
    monkeypatch.setattr(tiers, "is_compiled", lambda wanted: False)
    return slots


@pytest.mark.parametrize("patience", [1, 2, 50, 3000])
def test_a_run_goes_over_once(
    patience: int, handed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With registers, stack, may_goto's rounds, and every step counted; wherever fuel ends."""
    monkeypatch.setattr(tiers, "PATIENCE", patience)
    program = wb.assemble(LOOPS)
    draw = random.Random(patience)
    for fuel in (200_000, *(draw.randrange(1, 60_000) for _ in range(20))):
        handed.clear()
        found = []
        for engine in (wb.Interpreter, wb.Jit):
            with engine(program) as machine:
                result = machine.run(fuel=fuel)
            found.append((result.stop, result.r0, result.steps, result.pc))
        assert found[0] == found[1], fuel
        assert len(handed) <= 1
    handed.clear()
    with wb.Jit(program) as machine:
        machine.run(fuel=200_000)
        assert len(handed) == 1
        assert machine.run(fuel=200_000).steps == 200_000
        assert len(handed) == 1


def test_quick_code_becomes_good_after_many_runs(
    handed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiers, "PATIENCE", 1000)
    program = wb.assemble("r0 = 0\nagain: r0 += 1\nif r0 < 100 goto again\nexit")
    with wb.Jit(program) as machine:
        kinds = []
        for _ in range(8):
            kinds.append(machine._tiers.current.wanted.quick)
            assert machine.run().r0 == 100
    assert kinds == [True] * 5 + [False] * 3
    assert not handed


def test_good_code_can_be_asked_for(handed: list[int]) -> None:
    with wb.Jit(wb.assemble("r0 = 9\nagain: r0 -= 1\nif r0 != 0 goto again\nexit")) as machine:
        assert machine._tiers.current.wanted.quick
        machine.improve()
        assert not machine._tiers.current.wanted.quick
        assert machine.run().r0 == 0


def test_random_programs_go_over(
    scale: Callable[[int, int], int], handed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the programs that repeat anything at all, those that come back to the main function."""
    count = scale(60, 3000)
    for seed in range(2_700_000, 2_700_000 + count):
        draw = random.Random(seed)
        monkeypatch.setattr(tiers, "PATIENCE", draw.choice((1, 10, 100)))
        case, fuel = generate(seed), draw.choice((1_000_000, draw.randrange(1, 40_000)))
        found = []
        try:
            for engine in (wb.Interpreter, wb.Jit):
                arena = emulated_arena(case)
                with engine(program_of(case), arena=arena) as machine:
                    result = machine.run(case.ctx, fuel=fuel)
                left = (result.stop, result.r0, result.steps, result.ctx, result.pc)
                found.append((*left, arena.snapshot().bytes.tobytes(), arena.clock))
        except VerificationError:
            continue
        assert found[0] == found[1], case
    assert len(handed) >= count // 20
