"""Programs to text: the inverse of the assembler."""

from workbench.arguments import takes
from workbench.bpf.isa import Op
from workbench.bpf.program import Program, a_program
from workbench.bpf.text import assembly, instruction_text


@takes(program=a_program)
def disassemble(program: Program, source: bool = False) -> str:
    r"""Write a program as assembly text; assembling it gives back the same bytes and references.

    With `source`, the lines that instructions come from stand above them as comments.

    >>> print(wb.disassemble(wb.assemble("if r1 > 9 goto +1\nr0 = 1 ; small\nexit")))
        if r1 > 9 goto L2
        r0 = 1
    L2:
        exit
    """
    return assembly(program.instructions, program.names, _comments(program) if source else None)


def _comments(program: Program) -> dict[int, str]:
    """Where the source changes: file, line and text, and at a function's beginning its name."""
    found, last = {}, ("", 0)
    starts = {function.pc: function.name for function in program.subprograms}
    for line in program.lines:
        head = f"; {starts[line.pc]}()\n" if line.pc in starts else ""
        if head or (line.file, line.line) != last:
            place = f"{line.file}:{line.line}" if line.file else f"line {line.line}"
            text = " ".join(line.text.split())
            found[line.pc] = f"{head}; {place}: {text}".removesuffix(": ")
        last = line.file, line.line
    return found


def listing(program: Program) -> list[str]:
    """One text per slot (empty for the second half of an LD_IMM64), with relative targets."""
    names = program.names
    return [
        "" if record["op"] == Op.INVALID else instruction_text(record, pc, {}, names.get(pc))
        for pc, record in enumerate(program.instructions)
    ]
