"""Random valid arena programs: what Linux 6.18 accepts and whose every result is defined.

`generate(seed, size)` is a pure function, so an assertion needs to name only its two numbers. The
generator knows the kind of every register and stack slot at every point; where paths meet, what
differs becomes unusable. Left out: values of kernel pointers, uninitialised registers and stack,
what Linux refuses, and results that a range-tracking verifier would contradict (`keep_honest`).
"""

import random
import struct
from collections.abc import Callable
from typing import NamedTuple

from support.wire import Reference, Writer

from generate import compute, control, memory, pages
from generate.body import CTX_BYTES, PAGE, Body, Function, Shared
from generate.state import CTX, SCALAR

SEGV_ON_FAULT, NO_USER_CONV = 1 << 17, 1 << 18
MAIN_STACK, SUB_STACK = 192, 64
ACTIONS = (*compute.ACTIONS, *memory.ACTIONS, *pages.ACTIONS, *control.ACTIONS)
BASES = (0x100010000000, 0x100010000000, 0x200000000000, 0x1000F0000000)  # also lo = 0, lo >= 2**31


class Case(NamedTuple):
    """A program with everything that its run depends on."""

    seed: int
    size: int
    bytecode: bytes
    references: tuple[Reference, ...]
    pages: int
    user_base: int
    flags: int  # map flags besides MMAPABLE
    touched: tuple[tuple[int, bytes], ...]  # arena pages that the user fills before the run
    ctx: bytes
    pinned: frozenset[int]  # slots that `shrink` leaves: they keep free_pages inside the arena

    def __repr__(self) -> str:
        return f"generate({self.seed}, {self.size}): {len(self.bytecode) // 8} slots"


def generate(seed: int, size: int | None = None) -> Case:
    """A program of roughly `size` instructions plus a digest; from 10 to 300 by default."""
    rng = random.Random(seed)
    wanted = int(10 * 30 ** rng.random())
    size = wanted if size is None else size
    count = rng.choice((1, 2, 3, 5, 8, 16, 33, 64))
    base = rng.choice((*BASES, 0x300100000000 - count * PAGE))  # the last ends at a 4 GiB line
    flags = rng.choice((0, NO_USER_CONV)) | rng.choice((0, 0, 0, 0, SEGV_ON_FAULT))
    density = 0 if flags & SEGV_ON_FAULT else rng.choice((0, 0.2, 0.5, 0.9))
    filled = [page for page in range(count) if rng.random() < density]
    touched = tuple((page, content(rng, base, count)) for page in filled)
    ctx = content(rng, base, count)[:CTX_BYTES]
    actions = tuple(action for action, _ in ACTIONS)
    weights = tuple(weight * rng.choice((0, 1, 1, 6)) + 0.001 for _, weight in ACTIONS)
    shared = Shared(rng, Writer(), base, count, actions, weights, [], set())
    write(shared, size)
    code, references = shared.writer.bytes(), tuple(shared.writer.references)
    pinned = frozenset(shared.pinned)
    return Case(seed, size, code, references, count, base, flags, touched, ctx, pinned)


def content(rng: random.Random, base: int, count: int) -> bytes:
    """A page of random 64-bit words, among them pointers into the arena."""
    words = [rng.getrandbits(64) for _ in range(64)]
    for at in rng.sample(range(64), 12):
        words[at] = base + rng.randrange(count * PAGE)
    return struct.pack("<64Q", *words) * (PAGE // 512)


def write(shared: Shared, size: int) -> None:
    """Write main, then the functions that it and they call."""
    main = Body(shared, Function((CTX,), SCALAR, 0, []), MAIN_STACK)
    shared.writer.arena_map(9)  # associates the program with the arena if nothing else does
    main.remake(9, SCALAR)
    main.block(size)
    main.finish()
    for function in shared.functions:  # grows while functions are written
        for call in function.calls:
            shared.writer.land(call)
        body = Body(shared, function, SUB_STACK)
        body.block(max(4, size // 6))
        body.finish()


def shrink(case: Case, fails: Callable[[Case], bool]) -> Case:
    """Replace as many instructions as possible by `goto +0` such that `fails` stays true.

    `fails` must be false for programs that are refused. Pinned instructions stay.
    """
    count = len(case.bytecode) // 8
    chunk = count // 2
    while chunk:
        for start in range(0, count, chunk):
            smaller = without(case, range(start, min(start + chunk, count)))
            if smaller.bytecode != case.bytecode and fails(smaller):
                case = smaller
        chunk //= 2
    return case


def without(case: Case, slots: range) -> Case:
    """The case with some instructions made `goto +0`; a wide one goes only as a whole."""
    code = bytearray(case.bytecode)
    for slot in slots:
        wide = code[8 * slot] == 0x18
        if slot in case.pinned or code[8 * slot] == 0 or (wide and slot + 1 not in slots):
            continue
        for at in (slot, slot + 1) if wide else (slot,):
            code[8 * at : 8 * at + 8] = struct.pack("<BBhI", 5, 0, 0, 0)
    kept = tuple(r for r in case.references if code[8 * r.pc] != 5)
    return case._replace(bytecode=bytes(code), references=kept)
