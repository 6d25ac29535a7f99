"""Judge: random sequences of mmap and its relatives, the mapping model against Linux, call by call.

Ranges begin in the arena's place or beside it. Left out is what concerns the neighbours of a
mapping more than the arena: reading other mappings, populating or resizing beyond the end.
"""

import random
from collections.abc import Callable

import pytest
from support.bpf_probe import refusal
from support.row_kernel import linux
from support.row_machines import EmulatedMachine
from support.rows import Row, answers

from workbench.arena.mapping import Advice

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(bool(refusal()), reason=refusal() or "-")]

BASE = 0x2000_1000_0000
PAGE = 4096
CALLS = 12  # in one script
BATCH = 20  # scripts in one test
LENGTHS = ("16p",) * 6 + ("1p", "8p", "15p", "17p", "32p", "0", "4097", "1")
PROTECTIONS = ("rw", "rw", "rw", "r", "r", "none", "w", "rx")
FLAGS = (
    "shared",
    "shared",
    "shared fixed",
    "shared fixed",
    "shared fixed_noreplace",
    "private",
    "private fixed",
    "shared populate",
    "shared locked",
    "shared_validate",
)
REMAPS = ("", "", "maymove", "maymove fixed", "maymove dontunmap", "fixed", "dontunmap")
SYNCS = ("sync", "async", "invalidate", "sync invalidate", "sync async", "")


def address(rng: random.Random) -> str:
    pages = rng.choice((0, 0, 0, 0, 0, 1, -1, 8, 15, 16, 20, -4))
    return hex(BASE + pages * PAGE + 2048 * (rng.random() < 0.03))


def mmap(rng: random.Random) -> str:
    offset = " offset=1p" if rng.random() < 0.05 else ""
    kinds = f"prot={rng.choice(PROTECTIONS)} {rng.choice(FLAGS)}{offset}"
    return f"mmap {rng.choice(LENGTHS)} at {address(rng)} {kinds}"


def madvise(rng: random.Random) -> str:
    advice = rng.choice(list(Advice)).name.lower()
    if advice.startswith("populate"):
        return f"madvise {hex(BASE + 4 * PAGE)} {rng.choice(('1p', '8p', '12p'))} {advice}"
    return f"madvise {address(rng)} {rng.choice(LENGTHS)} {advice}"


def mremap(rng: random.Random) -> str:
    first = rng.choice((0, 0, 4))
    old = rng.choice(("1p", "8p", "0", f"{16 - first}p", f"{16 - first}p"))
    where = f"{hex(BASE + first * PAGE)} {old} {rng.choice(LENGTHS)}"
    return f"mremap {where} to {hex(BASE + (1 << 24))} {rng.choice(REMAPS)}"


def ranged(call: str, words: tuple[str, ...] = ("",)) -> Callable[[random.Random], str]:
    return lambda rng: f"{call} {address(rng)} {rng.choice(LENGTHS)} {rng.choice(words)}"


def touched(call: str, words: tuple[str, ...] = ("",)) -> Callable[[random.Random], str]:
    pages = (0, 3, 15, 17)
    return lambda rng: f"{call} {hex(BASE + rng.choice(pages) * PAGE)} {rng.choice(words)}"


TAME = (
    mmap,
    mmap,
    mmap,
    madvise,
    madvise,
    mremap,
    ranged("munmap"),
    ranged("munmap"),
    ranged("mprotect", PROTECTIONS),
    ranged("mprotect", PROTECTIONS),
    ranged("msync", SYNCS),
    ranged("mlock"),
    ranged("munlock"),
    touched("load"),
    touched("load"),
    touched("store", ("7", "8")),
    lambda rng: "present",
    lambda rng: "fork",
    lambda rng: "freeze",
    lambda rng: f"bpf_load {hex(BASE)}",
)
CROWDED = (
    mmap,
    mmap,
    mmap,
    ranged("other"),
    ranged("other"),
    ranged("munmap"),
    ranged("munmap"),
    lambda rng: "present",
)


def script(seed: int) -> Row:
    """A script whose every answer is shown; half of the arenas are pinned by map_extra."""
    rng = random.Random(seed)
    pinned = rng.random() < 0.5
    first = f"mmap 16p at {hex(BASE)} prot={rng.choice(('rw', 'rw', 'r'))} shared fixed"
    calls = CROWDED if rng.random() < 0.3 else TAME
    lines = [first] * (not pinned) + [rng.choice(calls)(rng) for _ in range(CALLS)]
    text = "\n".join(f"{line.rstrip()} -> shown" for line in lines)
    flags = rng.choice(("", "", "segv_on_fault"))
    return Row(
        "random",
        str(seed),
        "script",
        {"mapped": 0, "base": BASE * pinned, "flags": flags, "script": text},
    )


@pytest.mark.parametrize("batch", range(5))
def test_every_answer_is_linux_s(batch: int, scale: Callable[[int, int], int]) -> None:
    """100 scripts in CI."""
    count = scale(BATCH, 50 * BATCH)
    for seed in range(batch * count, batch * count + count):
        row = script(seed)
        ours = "\n".join(answers(row, EmulatedMachine(row)))
        assert ours == linux(row), f"seed {seed}"
