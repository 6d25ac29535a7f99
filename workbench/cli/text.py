"""Commands about the text of programs: asm, disasm, verify, isa."""

import json
from typing import TYPE_CHECKING

import click

from workbench.cli.options import (
    arena_flags,
    complain,
    engine_option,
    file_argument,
    flag_option,
    json_option,
    name_option,
    names_option,
    place,
    read,
    type_option,
)

if TYPE_CHECKING:
    from workbench.engines.kernel import Verdict
    from workbench.program import Program
    from workbench.verifier import Report

    AnyReport = Report | Verdict


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

    It assembles to the same bytes.
    """
    click.echo(str(read(file, [name] if name else [], kind)[0]), nl=False)


@click.command()
@file_argument
@names_option
@engine_option
@flag_option
@type_option
@click.option("--log", "with_log", is_flag=True, help="Print all that the verifier said.")
@json_option
def verify(
    file: str,
    names: tuple[str, ...],
    engine: str,
    flags: tuple[str, ...],
    kind: str | None,
    with_log: bool,
    as_json: bool,
) -> int:
    """Verify the programs of FILE without running them.

    --program chooses some of them, --engine the verifier: the workbench's own (interpreter, jit) or
    that of Linux (kernel).
    """
    number = arena_flags(flags)
    judged = [(program, _judge(engine, program, number)) for program in read(file, names, kind)]
    accepted = all(report.ok for _, report in judged)
    if as_json:
        rows = [_row(engine, program, report) for program, report in judged]
        click.echo(json.dumps({"ok": accepted, "programs": rows}))
    for program, report in judged:
        if with_log and not as_json:
            click.echo(report.log.rstrip())
        if not report.ok:
            complain(f"{place(file, program, report.pc)}: {program.name}: {report}")
        elif not as_json:
            click.echo(f"{program.name}: {report}")
    return int(not accepted)


def _judge(engine: str, program: "Program", flags: int) -> "AnyReport":
    """Ask the workbench's verifier or Linux's."""
    if engine != "kernel":
        from workbench.verifier import verify as judge

        return judge(program, flags)
    from workbench.engines.kernel import KernelArena, verdict

    with KernelArena(flags=flags) as arena:
        return verdict(program, arena)


def _row(engine: str, program: "Program", report: "AnyReport") -> dict[str, object]:
    """Turn a verdict into JSON values; null is what does not apply."""
    line = program.line_of(report.pc) if report.pc >= 0 else None
    return {
        "engine": engine,
        "program": program.name,
        "ok": report.ok,
        "pc": None if report.pc < 0 else report.pc,
        "line": line.line if line else None,
        "reason": report.reason,
        "log": report.log,
    }


@click.command()
@click.argument("words", nargs=-1)
def isa(words: tuple[str, ...]) -> None:
    """Print the instruction table.

    A line is one encoding: opcode, class, operation, syntax and the fields of fixed value. With
    WORDS, only lines that hold all of them.
    """
    from workbench.isa import TABLE

    for row in TABLE:
        pinned = ", ".join(f"{name} = {value:#x}" for name, value in row.pinned.items())
        line = f"{row.opcode:#04x}  {row.group:<6}  {row.op.name:<16}  {row.syntax:<44}  {pinned}"
        if all(word.lower() in line.lower() for word in words):
            click.echo(line.rstrip())
