"""Judge: Linux rewrites every example program as our verifier does, with and without conversion.

What Linux's dump has beyond that is patching that changes no meaning: dead code and jumps to the
next instruction go, division gets its checks, may_goto its counter, references their numbers.
`kernel_rewrite` lists and applies it; with that, the two programs are equal byte for byte.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
from oracles import kernel_rewrite
from support.kernel_support import KERNEL
from support.paths import PROGRAMS

from workbench.arena import ArenaFlags
from workbench.bpf.files import read_programs
from workbench.bpf.isa import Op
from workbench.bpf.program import Program
from workbench.engines.kernel import Kernel, KernelArena
from workbench.engines.kernel.xlated import listing
from workbench.verifier import verify

FILES = sorted(PROGRAMS.rglob("*.bpf"))
PROGRAMS = {f"{path.stem}/{name}": program for path in FILES
            for name, program in read_programs(path).items()}  # fmt: skip
FLAGS = [ArenaFlags(0), ArenaFlags.NO_USER_CONV]
PAGES = 256

pytestmark = KERNEL
flagged = pytest.mark.parametrize("flags", FLAGS, ids=["conversion", "no_user_conv"])


def ours(program: Program, flags: ArenaFlags) -> np.ndarray:
    return verify(program, flags, PAGES).xlated


class Rewritten(NamedTuple):
    """What Linux made of a program: the masked dump, and what is expected of ours."""

    found: bytes
    expected: Callable[[np.ndarray], bytes]


def rewritten(program: Program, flags: ArenaFlags) -> Rewritten:
    """Load a program, and prepare the comparison with our rewriting of it."""
    with KernelArena(PAGES, flags) as arena, Kernel(program, arena, log_level=2) as engine:
        dump, log, base = engine.xlated_bytes, engine.log, arena.user_start
    seen, extended = kernel_rewrite.visited(log), kernel_rewrite.extended(dump)
    return Rewritten(
        kernel_rewrite.mask(dump),
        lambda xlated: kernel_rewrite.dump_of(xlated, base, seen, extended),
    )


@flagged
@pytest.mark.parametrize("name", PROGRAMS)
def test_linux_rewrites_the_examples_alike(name: str, flags: ArenaFlags) -> None:
    program = PROGRAMS[name]
    linux = rewritten(program, flags)
    expected = linux.expected(ours(program, flags))
    assert listing(expected) == listing(linux.found)
    assert expected == linux.found


@flagged
def test_the_comparison_notices_any_changed_width(flags: ArenaFlags) -> None:
    program = PROGRAMS["list/add"]
    linux, xlated = rewritten(program, flags), ours(program, flags)
    assert linux.expected(xlated) == linux.found
    changes = [(pc, SIBLING[op]) for pc, op in enumerate(xlated["op"].tolist()) if op in SIBLING]
    assert len(changes) > 20
    for pc, other in changes:
        changed = xlated.copy()
        changed["op"][pc] = other
        assert linux.expected(changed) != linux.found, f"instruction {pc}"


ALU = [op.name[:-2] for op in Op if Op.ADD64 <= op <= Op.MOV64]
SIBLING = {
    int(Op[name + width]): Op[name + other]
    for name in ALU
    for width, other in (("64", "32"), ("32", "64"))
}


@pytest.mark.parametrize("name", ["list/main", "hash/main", "allocator/main"])
def test_there_is_something_to_rewrite(name: str) -> None:
    program = PROGRAMS[name]
    plain, flagged = (ours(program, flags) for flags in FLAGS)
    assert (program.instructions["op"] != plain["op"]).any()
    assert (plain["op"] != flagged["op"]).any()
