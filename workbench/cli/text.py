"""Commands about the text of programs: asm, disasm, isa, functions."""

import click

from workbench.cli.options import file_argument, name_option, read, type_option


@click.command()
@file_argument
@name_option
@type_option
def asm(file: str, name: str | None, kind: str | None) -> None:
    """Assemble a program of FILE and print its bytecode."""
    program = read(file, [name] if name else [], kind)[0]
    digits = program.bytecode.hex()
    for start in range(0, len(digits), 16):
        click.echo(digits[start : start + 16])
    if program.references:
        lost = ", ".join(dict.fromkeys(reference.name for reference in program.references))
        click.echo(
            f"Note: bytecode does not hold the names that an engine resolves: {lost}", err=True
        )


@click.command()
@file_argument
@name_option
@type_option
def disasm(file: str, name: str | None, kind: str | None) -> None:
    """Print a program of FILE as assembly text.

    It assembles to the same bytes. An object's programs come with the lines of their source, and
    all of them without --program.
    """
    from workbench.bpf.disassembler import disassemble

    programs = read(file, [name] if name else [], kind)
    if not file.endswith(".o"):
        click.echo(str(programs[0]), nl=False)
        return
    for program in programs:
        click.echo(f".program {program.name} {program.type}")
        click.echo(disassemble(program, source=True), nl=False)


@click.command()
@click.argument("words", nargs=-1)
def isa(words: tuple[str, ...]) -> None:
    """Print the instruction table.

    A line is one encoding: opcode, class, operation, syntax and the fields of fixed value. With
    WORDS, only lines that hold all of them.
    """
    from workbench.bpf.isa import TABLE

    for row in TABLE:
        pinned = ", ".join(f"{name} = {value:#x}" for name, value in row.pinned.items())
        line = f"{row.opcode:#04x}  {row.group:<6}  {row.op.name:<16}  {row.syntax:<44}  {pinned}"
        if all(word.lower() in line.lower() for word in words):
            click.echo(line.rstrip())


@click.command()
@click.argument("words", nargs=-1)
@click.option("--header", is_flag=True, help="Print helpers.h, the header for C programs, instead.")
def functions(words: tuple[str, ...], header: bool) -> None:
    """Print the helpers and kfuncs that programs can call.

    A line is one function: its number, C prototype, the program types that may call it (all,
    without), and whether it takes a sleepable program or a GPL-compatible licence. With WORDS,
    only lines that hold all of them.
    """
    from workbench.bpf import prototypes
    from workbench.bpf.functions import FUNCTIONS

    if header:
        click.echo(prototypes.header(), nl=False)
        return
    for line in map(prototypes.described, FUNCTIONS):
        if all(word.lower() in line.lower() for word in words):
            click.echo(line)
