"""The oracle itself: facts of RFC 9669 and of Linux 6.18 that the naive machine must know."""

from collections.abc import Callable

import pytest
from generate import NO_USER_CONV, SEGV_ON_FAULT, Case, generate, shrink
from support import wire as b

from oracles.naive import CONTEXT, STACK_TOP, Machine, Outcome
from oracles.naive_arena import FreeRanges, NaiveArena
from oracles.naive_numbers import arithmetic, decode, form, holds

M32, M64 = (1 << 32) - 1, (1 << 64) - 1
BASE, PAGE = 0x100010000000, 4096


def run(
    write: Callable[[b.Writer], object], arena: NaiveArena | None = None, **kind: bool
) -> Outcome:
    """Run what `write` writes and an exit; r6 = ctx, r7 = pointer to page 0, r8 = one to page 1."""
    writer = b.Writer()
    writer.alu(b.MOV, 6, src=1)
    for register, page in ((7, 0), (8, 1)):
        writer.constant(register, BASE + page * PAGE)
        writer.cast(register, register, b.CAST_KERN)
    write(writer)
    writer.emit(0x95)
    arena = NaiveArena(4, BASE) if arena is None else arena
    arena.touch(0)[:16] = bytes(range(0xF0, 0x100))
    return Machine(writer.bytes(), writer.references, arena, bytes(64), **kind).run()


def test_decode_reads_every_field() -> None:
    raw = bytes([0x7B, 0x21, 0xF8, 0xFF, 0xFE, 0xFF, 0xFF, 0xFF])
    assert decode(raw) == [(0x7B, 1, 2, -8, -2)]


@pytest.mark.parametrize(
    ("operation", "a", "b_", "bits", "off", "expected"),
    [
        (b.DIV, 1 << 63, M64, 64, 1, 1 << 63),
        (b.MOD, 1 << 63, M64, 64, 1, 0),
        (b.DIV, M64 - 6, 2, 64, 1, M64 - 2),
        (b.MOD, M64 - 6, 2, 64, 1, M64),
        (b.MOD, 7, M64 - 1, 64, 1, 1),
        (b.DIV, 1 << 31, M32, 32, 1, 1 << 31),
        (b.DIV, 5, 0, 64, 0, 0),
        (b.MOD, 0x1_0000_0005, 1 << 32, 32, 0, 5),
        (b.LSH, 1, 33, 32, 0, 2),
        (b.ARSH, 1 << 63, 65, 64, 0, 3 << 62),
        (b.MOV, 0, 0x80, 32, 8, 0xFFFFFF80),
        (b.MOV, 0, 0x80000000, 64, 32, 0xFFFFFFFF80000000),
    ],
)
def test_arithmetic(operation: int, a: int, b_: int, bits: int, off: int, expected: int) -> None:
    assert arithmetic(operation, a, b_, bits, off) == expected


def test_comparisons_know_sign_and_width() -> None:
    assert holds(b.JSLT, M64, 0, 64)
    assert not holds(b.JLT, M64, 0, 64)
    assert holds(b.JEQ, 1 << 32, 0, 32)
    assert holds(b.JSGT, 1, M32, 32)


@pytest.mark.parametrize(
    ("freed", "singles"),
    [
        ([(2, 2), (6, 4), (12, 2)], [12, 13, 2, 3, 6]),
        ([(12, 2), (6, 4), (2, 2)], [2, 3, 12, 13, 6]),
        ([(n, 1) for n in (1, 3, 5, 7, 9)], [9, 7, 5, 3, 1]),
        ([(n, 1) for n in (9, 7, 5, 3, 1)], [1, 3, 5, 7, 9]),
    ],
)
def test_holes_are_found_best_fit_then_newest(
    freed: list[tuple[int, int]], singles: list[int]
) -> None:
    ranges = FreeRanges(16)
    ranges.remove(0, 16)
    for first, count in freed:
        ranges.add(first, count)
    found = []
    for _ in singles:
        page = ranges.find(1)
        assert page is not None
        ranges.remove(page, 1)
        found.append(page)
    assert found == singles


@pytest.mark.parametrize(("pages", "at", "expected"), [(16, 8, 9), (17, 8, 9)])
def test_a_fixed_allocation_splits_left_then_right(pages: int, at: int, expected: int) -> None:
    ranges = FreeRanges(pages)
    ranges.remove(at, 1)
    assert ranges.find(1) == expected


def test_user_faults_take_pages_and_reservations_do_not_stop_them() -> None:
    arena = NaiveArena(16, BASE)
    arena.touch(0)
    arena.touch(5)
    assert [arena.alloc(0, 1) // PAGE % 16 for _ in range(4)] == [1, 2, 3, 4]
    assert arena.reserve(BASE + 6 * PAGE, 10) == 0
    assert arena.alloc(0, 1) == 0
    assert len(arena.touch(6)) == PAGE


def test_the_segv_flag_refuses_user_faults() -> None:
    with pytest.raises(IndexError, match="SIGSEGV at page 2"):
        NaiveArena(4, BASE, SEGV_ON_FAULT).touch(2)


def test_loads_from_absent_pages_give_zero_and_stores_vanish() -> None:
    def write(w: b.Writer) -> None:
        w.alu(b.MOV, 0, imm=-1)
        w.store(8, 8, 0, 0)
        w.store(8, 8, -4, 0)  # across present | absent
        w.load(8, 0, 8, -4)

    arena = NaiveArena(4, BASE)
    assert run(write, arena).r0 == 0
    assert [page for page, _ in arena.present()] == [0]
    assert arena.touch(0)[-4:] == bytes(4)


@pytest.mark.parametrize("operation", [b.ADD | b.FETCH, b.XCHG, b.CMPXCHG, b.LOAD_ACQUIRE])
def test_atomics_on_absent_pages_leave_the_register(operation: int) -> None:
    def write(w: b.Writer) -> None:
        w.constant(0, 0x1234567890ABCDEF)
        w.atomic(4, operation, 8, 0, 0)

    assert run(write).r0 == 0x1234567890ABCDEF


@pytest.mark.parametrize(
    ("in_arena", "expected"), [(True, 0xAAAAAAAAF3F2F1F0), (False, 0xF3F2F1F0)]
)
def test_a_32_bit_exchange_that_succeeds_extends_r0_except_in_an_arena(
    in_arena: bool, expected: int
) -> None:
    def write(w: b.Writer) -> None:
        w.constant(0, 0xAAAAAAAAF3F2F1F0)
        w.store(8, 10, -8, 0)
        w.atomic(4, b.CMPXCHG, 7 if in_arena else 10, 0 if in_arena else -8, 6)

    assert run(write).r0 == expected


def test_the_offset_is_added_without_wrapping() -> None:
    def write(w: b.Writer) -> None:
        w.constant(1, 0xFFFFF000)
        w.cast(1, 1, b.CAST_KERN)
        w.load(8, 0, 1, 4096)  # the guard, not page 0
        w.store(8, 6, 0, 0)
        w.alu(b.ADD, 1, imm=4096)
        w.load(8, 0, 1, 0)

    arena = NaiveArena(4, 0x200000000000)
    outcome = run(write, arena)
    assert outcome.ctx[:8] == bytes(8)
    assert outcome.r0 == int.from_bytes(bytes(range(0xF0, 0xF8)), "little")


@pytest.mark.parametrize(
    ("flags", "address", "expected"),
    [(0, BASE + 8, BASE + 8), (0, 0x7 << 32, 0), (NO_USER_CONV, BASE + 8, BASE + 8 & M32)],
)
def test_cast_user(flags: int, address: int, expected: int) -> None:
    def write(w: b.Writer) -> None:
        w.constant(1, address)
        w.cast(0, 1, b.CAST_USER)

    assert run(write, NaiveArena(4, BASE, flags)).r0 == expected


@pytest.mark.parametrize(
    ("verified", "expected"), [(True, BASE - 1 & M32), (False, (BASE & M32) + M64 & M64)]
)
def test_arithmetic_on_a_verified_arena_pointer_is_32_bits(verified: bool, expected: int) -> None:
    def write(w: b.Writer) -> None:
        w.store(8, 10, -8, 7)
        w.load(8, 0, 10, -8)  # a spill keeps the kind
        w.alu(b.ADD, 0, imm=-1)

    assert run(write, verified=verified).r0 == expected & M64


def test_multiplication_of_an_arena_pointer_is_32_bits_but_negation_is_not() -> None:
    assert run(lambda w: (w.alu(b.MUL, 7, imm=16), w.alu(b.MOV, 0, src=7))).r0 == 0
    assert run(lambda w: (w.alu(b.NEG, 7), w.alu(b.MOV, 0, src=7))).r0 == 0xFFFFFFFFF0000000


def test_memory_that_nobody_owns_is_a_fault() -> None:
    outcome = run(lambda w: w.load(8, 0, 6, 60))
    assert (outcome.stop, outcome.reason) == ("fault", f"no memory at {CONTEXT + 60:#x}")
    assert run(lambda w: w.load(8, 0, 10, -8)).stop == "exit"
    assert run(lambda w: w.load(8, 0, 10, 0)).reason == f"no memory at {STACK_TOP:#x}"


def test_calls_nest_eight_deep() -> None:
    def write(w: b.Writer) -> None:
        w.emit(0x85, src=1, imm=-1)  # calls itself

    assert run(write).reason == "more than 8 frames"


def every_form() -> set[tuple[int, ...]]:
    """All instructions that a syscall program may use on 6.18, except helpers and maps."""
    binary = (b.ADD, b.SUB, b.MUL, b.OR, b.AND, b.LSH, b.RSH, b.XOR, b.ARSH, b.MOV, b.DIV, b.MOD)
    alu = {(family | op | src, 0, 0) for family in (4, 7) for op in binary for src in (0, 8)}
    alu |= {(f | op | src, 1, 0) for f in (4, 7) for op in (b.DIV, b.MOD) for src in (0, 8)}
    alu |= {(0x84, 0, 0), (0x87, 0, 0), (0xBF, 1, b.CAST_KERN), (0xBF, 1, b.CAST_USER)}
    alu |= {(code, 0, bits) for code in (0xD4, 0xDC, 0xD7) for bits in (16, 32, 64)}
    alu |= {(0xBF, off, 0) for off in (8, 16, 32)} | {(0xBC, off, 0) for off in (8, 16)}
    compare = (b.JEQ, b.JGT, b.JGE, b.JSET, b.JNE, b.JSGT, b.JSGE, b.JLT, b.JLE, b.JSLT, b.JSLE)
    jumps = {(family | op | src,) for family in (5, 6) for op in compare for src in (0, 8)}
    jumps |= {(0x05,), (0x06,), (0xE5,), (0x95,), (0x85, 1), (0x85, 2)}
    memory = {(mode | size,) for mode in (0x61, 0x62, 0x63) for size in b.SIZE_BITS.values()}
    memory |= {(0x81 | b.SIZE_BITS[size],) for size in (1, 2, 4)}
    plain = (b.ADD, b.OR, b.AND, b.XOR)
    rmw = (*plain, *(op | b.FETCH for op in plain), b.XCHG, b.CMPXCHG)
    atomics = {(0xC3 | size, op) for size in (0, 0x18) for op in rmw}
    ordered = (b.LOAD_ACQUIRE, b.STORE_RELEASE)
    atomics |= {(0xC3 | size, op) for size in b.SIZE_BITS.values() for op in ordered}
    return alu | jumps | memory | atomics | {(0x18, 0), (0x18, 1), (0x18, 2)}


def test_random_programs_end_and_together_execute_every_instruction() -> None:
    executed: set[tuple[int, ...]] = set()
    for seed in range(1500):
        case = generate(seed)
        arena = NaiveArena(case.pages, case.user_base, case.flags)
        outcome = Machine(case.bytecode, case.references, arena, case.ctx).run(100_000)
        assert outcome.stop == "exit", f"{case}: {outcome.stop} {outcome.reason}"
        executed |= outcome.executed
    assert every_form() - executed == set()
    assert executed - every_form() == set()


def test_generation_is_reproducible_and_sized() -> None:
    assert generate(7, 50) == generate(7, 50)
    assert generate(7, 50) != generate(8, 50)
    assert len(generate(3, 10).bytecode) < len(generate(3, 300).bytecode)
    assert {form(i)[0] for i in decode(generate(5).bytecode)} >= {0x95, 0x18}


def test_shrinking_keeps_what_matters_and_what_is_pinned() -> None:
    def fails(case: Case) -> bool:
        arena = NaiveArena(case.pages, case.user_base, case.flags)
        return (0xDB, b.XCHG) in Machine(
            case.bytecode, case.references, arena, case.ctx
        ).run().executed

    case = next(case for case in map(generate, range(1000)) if fails(case))
    small = shrink(case, fails)
    assert fails(small)
    kept = [slot for slot, i in enumerate(decode(small.bytecode)) if i.code not in (0, 0x05, 0x06)]
    before = [slot for slot, i in enumerate(decode(case.bytecode)) if i.code not in (0, 0x05, 0x06)]
    assert len(kept) < len(before) / 2
    assert set(before) & case.pinned == set(kept) & case.pinned
