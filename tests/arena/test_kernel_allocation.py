"""Judge: the emulated allocator places pages exactly where Linux places them, step by step.

Random sequences of allocation, fixed allocation, freeing, reservation and user touches run on an
emulated arena and on a real one side by side; every answer must be equal, and at the end of a
sequence the free ranges and the present pages too.
"""

import random
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
from support.bpf_probe import refusal

import workbench as wb
from workbench.errors import SegmentationFault

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(bool(refusal()), reason=refusal() or "-")]

PAGE = 4096
STEPS = 1000  # in one sequence
SIZES = (1, 2, 3, 5, 8, 16, 17, 63, 64, 65, 200, 512, 1000, 4096, 4097, 30_000, 1 << 18, 1 << 20)
BASES = (None, 0x2000_0000_0000, 0x2000_7FFF_0000)  # the second has low half 0
BASE_FOR = {base: 1 << 20 if base is None or base % (1 << 32) == 0 else 1 << 19 for base in BASES}


class Step(NamedTuple):
    """One call on an arena; `page` and `count` are pages, `offset` bytes into the page."""

    action: str
    page: int
    count: int
    offset: int = 0


def random_step(rng: random.Random, pages: int, greed: float) -> Step:
    """A step for an arena of `pages`; `greed` is how much more is allocated than freed."""
    span = min(pages, rng.choice((1, 1, 1, 2, 3, 8, 64)))
    count = rng.randint(1, span)
    page = rng.randrange(min(pages, rng.choice((pages, 32, 256))))
    draw = rng.random()
    if draw < 0.45 * greed:
        return Step("alloc", 0, rng.choice((1, count, count, rng.randint(1, pages), 0)) % 300)
    if draw < 0.60 * greed:
        return Step("alloc_at", page, count, 8 * (rng.random() < 0.15))
    wide = rng.choice((1, count, count, rng.randint(1, pages)))
    if draw < 0.68 * greed:
        return Step("reserve", page, wide, 16 * (rng.random() < 0.1))
    if draw < 0.80 * greed:
        return Step(rng.choice(("load", "store")), page, 1, rng.randrange(PAGE))
    return Step("free", page, wide, 24 * (rng.random() < 0.25))


def answer(arena: "wb.Arena", step: Step) -> object:
    """Carry out a step; placements are relative to the start of the arena."""
    address = arena.user_start + step.page * PAGE + step.offset
    if step.action == "alloc":
        return placed(arena, arena.alloc(step.count))
    if step.action == "alloc_at":
        return placed(arena, arena.alloc(step.count, address))
    if step.action == "reserve":
        return arena.reserve(address, step.count)
    if step.action == "free":
        return arena.free(address, step.count)
    try:
        if step.action == "store":
            return arena.user.store(address, "u8", 0x5A)
        return arena.user.load(address, "u8")
    except SegmentationFault as fault:
        return fault.address - address


def placed(arena: "wb.Arena", address: int) -> int | None:
    return (address - arena.user_start) // PAGE if address else None


def compare(seed: int, pages: int, base: int | None, steps: int) -> int:
    """Run one random sequence on both arenas; returns how many allocations found no place.

    Every third seed has SEGV_ON_FAULT: there a user touch of an absent page is refused.
    """
    rng = random.Random(seed)
    failures = 0
    flags = wb.ArenaFlags.SEGV_ON_FAULT if seed % 3 == 1 else wb.ArenaFlags(0)
    with (
        wb.Arena(pages, flags, base) as emulated,
        wb.KernelArena(pages, flags, emulated.user_start) as real,
    ):
        for number in range(steps):
            greed = 1.24 if number // 200 % 2 == 0 else 0.8  # fill up, then thin out
            step = random_step(rng, pages, greed)
            ours, linux = answer(emulated, step), answer(real, step)
            assert ours == linux, f"seed {seed}, {pages} pages, step {number}: {step}"
            failures += step.action.startswith("alloc") and linux is None
        assert emulated.free_extents.tolist() == real.free_extents.tolist()
        assert np.array_equal(emulated.present, real.present)
        assert emulated.snapshot().difference(real.snapshot()) == ""
    return failures


@pytest.mark.parametrize("pages", SIZES)
def test_every_placement_is_linux_s(pages: int, scale: Callable[[int, int], int]) -> None:
    """102,000 steps in CI: 18 sizes with six seeds each of 1,000 steps, at three bases."""
    failures = 0
    for seed in range(scale(6, 120)):
        base = BASES[seed % len(BASES)]
        if pages > BASE_FOR[base]:
            base = None
        failures += compare(1000 * pages + seed, pages, base, STEPS)
    assert failures, "no sequence ran out of pages: exhaustion went untested"


@pytest.mark.parametrize("pages", [1, 7, 300])
def test_exhaustion_to_the_last_page_and_back(pages: int) -> None:
    """Every page is handed out once, then none, then the freed ones again in the same order."""
    with wb.Arena(pages=pages) as emulated, wb.KernelArena(pages=pages) as real:
        order = list(range(pages))
        random.Random(pages).shuffle(order)
        for arena in (emulated, real):
            assert [placed(arena, arena.alloc()) for _ in range(pages)] == list(range(pages))
            assert arena.alloc() == 0
            for page in order:
                arena.free(arena.user_start + page * PAGE)
            arena.alloc(count=pages)
            assert arena.alloc() == 0
            for page in order[: pages // 2]:
                arena.free(arena.user_start + page * PAGE)
        again = [
            [placed(arena, arena.alloc()) for _ in range(pages // 2 + 1)]
            for arena in (emulated, real)
        ]
        assert again[0] == again[1]


def test_a_full_size_arena_runs_out_by_reservation() -> None:
    """2**20 pages without 4 GiB of memory: reserved ranges leave holes that both fill alike."""
    rng = random.Random(20)
    with wb.Arena(pages=1 << 20) as emulated, wb.KernelArena(pages=1 << 20) as real:
        for arena in (emulated, real):
            assert arena.reserve(arena.user_start, 1 << 20) == 0
            assert arena.alloc() == 0
        for _ in range(1500):
            step = Step("free", rng.randrange(1 << 20), rng.choice((1, 1, 2, 3, 5)))
            for arena in (emulated, real):
                answer(arena, step)
        assert emulated.free_extents.tolist() == real.free_extents.tolist()
        placements = 0
        while True:
            step = Step("alloc", 0, rng.choice((1, 1, 1, 2, 3)))
            ours, linux = answer(emulated, step), answer(real, step)
            assert ours == linux
            placements += 1
            if linux is None and step.count == 1:
                break
        assert placements > 1500
        assert len(real.free_extents) == len(emulated.free_extents) == 0
