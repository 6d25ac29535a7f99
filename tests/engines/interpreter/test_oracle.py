"""The interpreter against the naive machine, on random programs and on broken ones."""

import contextlib
import random
from collections.abc import Callable

import pytest
from generate import Case, generate
from generate.damage import broken
from oracles.naive import Machine
from oracles.naive_arena import FreedBelow, NaiveArena
from support.agreement import (
    FUEL,
    PAGE,
    TOO_COMPLEX,
    by_interpreter,
    by_naive,
    difference,
    emulated_arena,
    final_of,
    naive_arena,
    program_of,
)

import workbench as wb
from workbench.errors import DecodeError, Unsupported, VerificationError


def check(case: Case, verified: bool, fuel: int = FUEL, raw: bool = False) -> str:
    """Run a case on both; returns how it stopped."""
    try:
        found = by_interpreter(case, verified, fuel, raw)  # refuses what is no program
    except VerificationError as refusal:
        if refusal.reason != TOO_COMPLEX:
            raise
        return "exit"  # as Linux does
    expected = by_naive(case, verified, fuel, raw)
    assert expected == found, f"{case}: {difference(expected, found)}"
    return expected.stop


def test_verified_programs(scale: Callable[[int, int], int]) -> None:
    """Same r0, stop, steps, context, pages, bytes and free ranges on every random program."""
    for seed in range(scale(200, 10_000)):
        assert check(generate(seed), verified=True) == "exit"


def test_unverified_programs(scale: Callable[[int, int], int]) -> None:
    """Without the verifier's rewriting: ALU64 stays 64 bits wide, so pointers go astray."""
    seeds = range(100_000, 100_000 + scale(300, 3000))
    stops = [check(generate(seed), verified=False) for seed in seeds]
    assert stops.count("exit") > len(stops) // 2


def test_raw_programs(scale: Callable[[int, int], int]) -> None:
    for seed in range(200_000, 200_000 + scale(100, 1000)):
        check(generate(seed), verified=False, raw=True)


def test_runs_cut_short(scale: Callable[[int, int], int]) -> None:
    """Out of fuel, both machines are in the same state."""
    for seed in range(300_000, 300_000 + scale(100, 2000)):
        fuel = random.Random(seed).randrange(60)
        check(generate(seed), verified=True, fuel=fuel)


def test_resumed_runs_end_the_same(scale: Callable[[int, int], int]) -> None:
    """A run in slices leaves what a run in one piece leaves."""
    for seed in range(400_000, 400_000 + scale(50, 500)):
        case, rng = generate(seed), random.Random(seed)
        arena = emulated_arena(case)
        with wb.Interpreter(program_of(case), arena=arena) as engine:
            result = engine.run(case.ctx, fuel=0)
            steps = 0
            while result.stop == "fuel":
                result = engine.resume(fuel=rng.randrange(1, 40))
                steps += result.steps
        found = final_of(arena, result.stop, result.r0, steps, result.ctx)
        expected = by_naive(case, verified=True)
        assert expected == found, f"{case}: {difference(expected, found)}"


def test_broken_programs_do_the_same_wrong_things(scale: Callable[[int, int], int]) -> None:
    """Unverified and damaged: stray jumps, wild accesses, deep calls, endless loops."""
    stops: list[str] = []
    begin = 500_000
    own_r10 = begin + 1956  # it overwrites its r10, then calls
    for seed in (own_r10, *range(begin, begin + scale(600, 6000))):
        case = broken(generate(seed), random.Random(seed))
        with contextlib.suppress(DecodeError, Unsupported, FreedBelow):  # two never start
            stops.append(check(case, verified=False, fuel=2000))
    assert {"exit", "fault", "fuel"} <= set(stops)
    assert len(stops) > 300


@pytest.mark.parametrize("pages", [1, 2, 7, 16, 64, 1000])
def test_allocators_place_alike(pages: int, scale: Callable[[int, int], int]) -> None:
    """Random alloc, fixed alloc, free, reserve and user touches: same answers at every step."""
    base, rng = 0x100010000000, random.Random(pages)
    ours, naive = wb.Arena(pages, 0, base), NaiveArena(pages, base)
    for step in range(scale(1500, 15_000)):
        page, count = rng.randrange(pages), rng.choice((1, 1, 1, 2, 3, rng.randrange(pages + 2)))
        address = base + page * PAGE + rng.choice((0, 0, 0, 0, 8))
        action = rng.choice(("alloc", "alloc", "alloc_at", "free", "free", "reserve", "touch"))
        if action == "touch":
            naive.touch(page)
            ours.user.load(base + page * PAGE, "u8")
        elif action == "free":
            naive.release(address, count)
            ours.free(address, count)
        elif action == "reserve":
            assert ours.reserve(address, count) == naive.reserve(address, count), step
        else:
            where = 0 if action == "alloc" else address
            assert ours.alloc(count, where) == naive.alloc(where, count), step
        free = [(first, last - first + 1) for first, last, _ in naive.free.ranges]
        assert free == [tuple(row) for row in ours.free_extents.tolist()], (step, action)


@pytest.mark.parametrize("trace", ["counts", "events", "steps"])
def test_recording_changes_nothing(trace: str, scale: Callable[[int, int], int]) -> None:
    for seed in range(600_000, 600_000 + scale(60, 600)):
        case = generate(seed)
        arena = emulated_arena(case)
        with wb.Interpreter(program_of(case), arena=arena) as engine:
            result = engine.run(case.ctx, trace=trace)
        found = final_of(arena, result.stop, result.r0, result.steps, result.ctx)
        expected = by_naive(case, verified=True)
        assert expected == found, f"{case}: {difference(expected, found)}"


def test_recordings_know_every_state(scale: Callable[[int, int], int]) -> None:
    """Registers, depth and arena pages before random steps are those of the naive machine."""
    for seed in range(700_000, 700_000 + scale(80, 800)):
        case, rng = generate(seed), random.Random(seed)
        trace = wb.record(program_of(case), emulated_arena(case), case.ctx)
        for step in sorted({0, len(trace) - 1, *(rng.randrange(len(trace)) for _ in range(4))}):
            arena = naive_arena(case)
            machine = Machine(case.bytecode, case.references, arena, case.ctx)
            machine.run(fuel=step)
            state = trace.state(step)
            shown = (state.pc, state.depth, state.registers.tolist())
            assert shown == (machine.pc, len(machine.frames), machine.regs), f"{case}, step {step}"
            present = dict(arena.present())
            for page in range(case.pages):
                content = trace.memory(step, page)
                kept = None if content is None else content.tobytes()
                assert kept == present.get(page), f"{case}, step {step}, page {page}"
