"""Runs one generated case on the naive machine, the interpreter or the kernel, for comparison."""

from typing import NamedTuple

from generate import Case
from oracles.naive import Machine
from oracles.naive_arena import NaiveArena

import workbench as wb
from workbench.bpf.program import Program, Reference

PAGE = 4096
FUEL = 1_000_000  # more than any generated program needs
TOO_COMPLEX = "The sequence of 8193 jumps is too complex."  # Linux and we follow loops by rounds


class Final(NamedTuple):
    """All that a run leaves behind; free is (first page, pages) in address order."""

    stop: str
    r0: int
    steps: int
    ctx: bytes
    present: dict[int, bytes]
    free: list[tuple[int, int]]


def program_of(case: Case, type: str = "syscall") -> Program:
    references = tuple(Reference(*reference) for reference in case.references)
    return Program(f"generated_{case.seed}", type, case.bytecode, references)


def fill(arena: "wb.Arena | wb.KernelArena", case: Case) -> None:
    for page, content in case.touched:
        arena.user.write(case.user_base + page * PAGE, content)


def emulated_arena(case: Case) -> "wb.Arena":
    arena = wb.Arena(case.pages, case.flags, case.user_base)
    fill(arena, case)
    return arena


def naive_arena(case: Case) -> NaiveArena:
    arena = NaiveArena(case.pages, case.user_base, case.flags)
    for page, content in case.touched:
        arena.touch(page)[:] = content
    return arena


def by_naive(case: Case, verified: bool, fuel: int = FUEL, raw: bool = False) -> Final:
    arena = naive_arena(case)
    memory = case.ctx if raw else None
    machine = Machine(case.bytecode, case.references, arena, case.ctx, memory, verified)
    ran = machine.run(fuel)
    free = [(first, last - first + 1) for first, last, _ in arena.free.ranges]
    return Final(ran.stop, ran.r0, ran.steps, ran.ctx, dict(arena.present()), free)


def final_of(
    arena: "wb.Arena | wb.KernelArena", stop: str, r0: int, steps: int, ctx: bytes
) -> Final:
    snapshot = arena.snapshot()
    contents = (content.tobytes() for content in snapshot.bytes)
    present = dict(zip(snapshot.pages.tolist(), contents, strict=True))
    free = [(first, count) for first, count in arena.free_extents.tolist()]
    return Final(stop, r0, steps, ctx, present, free)


def by_interpreter(case: Case, verified: bool, fuel: int = FUEL, raw: bool = False) -> Final:
    arena, program = emulated_arena(case), program_of(case, "raw" if raw else "syscall")
    with wb.Interpreter(program, arena=arena, verify=verified) as engine:
        result = engine.run(case.ctx, fuel=fuel)
    return final_of(arena, result.stop, result.r0, result.steps, result.ctx)


def difference(expected: Final, found: Final) -> str:
    """The names of the parts that differ, and their values where they are short."""
    parts = []
    for name, wanted, got in zip(Final._fields, expected, found, strict=True):
        if wanted == got:
            continue
        if name == "present" and expected.present.keys() == found.present.keys():
            pages = [page for page in expected.present if wanted[page] != got[page]]
            parts.append(f"content of pages {pages}")
        elif name == "present":
            parts.append(f"present: {sorted(got)}, not {sorted(wanted)}")
        else:
            parts.append(f"{name}: {got!r}, not {wanted!r}")
    return "; ".join(parts)


def by_kernel(case: Case) -> Final:
    """Steps are unknown, r0 has 32 bits; programs store all 64 to the context."""
    with wb.KernelArena(case.pages, case.flags, case.user_base) as arena:
        fill(arena, case)
        with wb.Kernel(program_of(case), arena=arena) as engine:
            result = engine.run(case.ctx)
        return final_of(arena, result.stop, result.r0, 0, result.ctx)


def as_by_kernel(final: Final) -> Final:
    """The part of an outcome that the kernel tells."""
    return final._replace(r0=final.r0 & 0xFFFFFFFF, steps=0)
