"""The verifier: decides whether a program is safe, says why not, and rewrites it for the engines.

    limits      rules about the program as a whole
    structure   what the shape of a program alone forbids
    facts       what must hold before each instruction
    check       whether it holds in a state
    transfer    what the instruction does to a state
    domain      values and states
    explore     all paths, joined where they meet
    rewrite     arena accesses, 32-bit arithmetic, casts
    report      verdict, log, rewritten code

For type `raw` no bounds are proven: its engine checks every access as it happens.
"""

from workbench.errors import VerificationError
from workbench.isa import Op
from workbench.program import Program
from workbench.verifier import report as reports
from workbench.verifier.domain import ARENA
from workbench.verifier.explore import Explorer
from workbench.verifier.facts import Instruction, Setting
from workbench.verifier.limits import check_program, check_references, check_stack
from workbench.verifier.report import Report
from workbench.verifier.rewrite import rewrite
from workbench.verifier.structure import check_structure

__all__ = ["Report", "verify"]


def verify(program: Program, flags: int = 0, arena_pages: int | None = None) -> Report:
    """Decide whether a program may run with an arena of these flags, and rewrite it.

    `flags` is an ArenaFlags or its number; NO_USER_CONV changes the rewritten casts. With
    `arena_pages`, addresses in the arena that the program names must lie inside it. Never raises
    for a bad program: the report says what is wrong.
    """
    instructions = list(map(Instruction._make, program.instructions.tolist()))
    setting = _setting(program, instructions)
    explorer = Explorer(instructions, setting)
    try:
        check_program(program, arena_pages)
        check_structure(instructions, setting.raw)
        check_references(instructions, setting)
        explorer.explore()
        if not setting.raw:
            check_stack(instructions, explorer.depths)
    except VerificationError as error:
        return reports.refused(program, error, explorer.processed)
    accesses = [pc for pc, kinds in explorer.accesses.items() if kinds == ARENA]
    xlated = rewrite(program.instructions, accesses, explorer.arithmetic, int(flags))
    return reports.accepted(program, xlated, explorer.processed)


def _setting(program: Program, instructions: list[Instruction]) -> Setting:
    """Collect what the facts need to know of the whole program."""
    names = {pc: (kind, name) for pc, kind, name in program.references}
    indexed = any(i.op == Op.LD_MAP_IDX and i.imm == 0 for i in instructions)
    return Setting(
        type=program.type,
        raw=program.type == "raw",
        arena=program.uses_arena or indexed,
        names=names,
    )
