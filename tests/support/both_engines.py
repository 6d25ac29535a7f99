"""Interpreter and jit on the same program: everything that a run leaves must be equal."""

import contextlib
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import pandas as pd
import pytest
from generate import Case

import workbench as wb
from support.agreement import (
    FUEL,
    TOO_COMPLEX,
    Final,
    difference,
    emulated_arena,
    final_of,
    program_of,
)
from workbench.bpf.program import Program
from workbench.engines.jit import tiers
from workbench.errors import VerificationError

BASE = 0x100010000000


class Left(NamedTuple):
    """All that a run leaves behind, page events with their times included."""

    final: Final
    pc: int
    reason: str
    clock: int
    events: pd.DataFrame


@contextlib.contextmanager
def hurried(program: Program) -> Iterator[None]:
    """Good machine code at once, as usual, or after a few steps; the program decides which."""
    with pytest.MonkeyPatch.context() as patch:
        patience = (0, tiers.PATIENCE, 1, 50)[zlib.crc32(program.bytecode) % 4]
        patch.setattr(tiers, "PATIENCE", patience)
        patch.setattr(tiers, "is_compiled", lambda wanted: False)
        yield


def left_by(
    engine: type,
    program: Program,
    arena: "wb.Arena",
    ctx: bytes,
    verify: bool = True,
    fuel: int | None = FUEL,
) -> Left:
    with hurried(program), engine(program, arena=arena, verify=verify) as machine:
        result = machine.run(ctx, fuel=fuel)
    final = final_of(arena, result.stop, result.r0, result.steps, result.ctx)
    return Left(final, result.pc, result.reason, arena.clock, arena.events)


def agree(one: Left, other: Left, what: object) -> str:
    """Hold both to the same answer; returns how the program stopped."""
    assert one.final == other.final, f"{what}: {difference(one.final, other.final)}"
    assert one[1:4] == other[1:4], what
    assert one.events.equals(other.events), what
    return one.final.stop


def check(case: Case, verify: bool = True, fuel: int = FUEL, raw: bool = False) -> str:
    program = program_of(case, "raw" if raw else "syscall")
    try:
        one, other = (
            left_by(engine, program, emulated_arena(case), case.ctx, verify, fuel)
            for engine in (wb.Interpreter, wb.Jit)
        )
    except VerificationError as refusal:
        if refusal.reason != TOO_COMPLEX:
            raise
        return "exit"  # as Linux does
    return agree(one, other, case)


def run_both(text: str, ctx: bytes = b"", type: str = "syscall", verify: bool = False) -> int:
    """Run assembly on both, with two pages of an arena of eight present; returns r0."""
    program = wb.assemble(text, type=type)
    found = []
    for engine in (wb.Interpreter, wb.Jit):
        arena = wb.Arena(8, 0, BASE)
        arena.user.write(BASE, bytes(range(1, 129)) * 64)
        found.append(left_by(engine, program, arena, ctx, verify))
    agree(*found, text)
    return found[0].final.r0
