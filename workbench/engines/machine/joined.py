"""Programs one after the other, so that a tail call only goes to another slot."""

from collections.abc import Sequence
from dataclasses import replace

from workbench.bpf.program import Program


def joined(programs: Sequence[Program], name: str = "") -> tuple[Program, list[int]]:
    """All programs as one, to be run or looked at, and the first slot of each.

    Its type, licence and BTF are those of the first program, its name too unless `name` is given.
    """
    sizes = [len(program) for program in programs]
    first = [sum(sizes[:number]) for number in range(len(sizes))]
    if len(programs) == 1:
        return programs[0], first
    shifted = list(zip(programs, first, strict=True))
    whole = replace(
        programs[0],
        name=name or programs[0].name,
        bytecode=b"".join(program.bytecode for program in programs),
        references=tuple(
            reference._replace(pc=reference.pc + at)
            for program, at in shifted
            for reference in program.references
        ),
        lines=tuple(
            line._replace(pc=line.pc + at) for program, at in shifted for line in program.lines
        ),
        subprograms=tuple(
            function._replace(pc=function.pc + at)
            for program, at in shifted
            for function in program.subprograms
        ),
    )
    return whole, first
