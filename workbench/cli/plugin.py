"""`workbench plugin`: a virtual machine for bpf_conformance, the public suite of ISA tests.

The suite starts a process for each test: memory in hexadecimal as the first argument, empty or
absent if the test has none, its plugin options in the second, and bytecode in hexadecimal on
standard input. It reads r0 from standard output.
Source: github.com/Alan-Jowett/bpf_conformance.
"""

import sys

import click

from workbench.cli.options import hex_bytes
from workbench.errors import WorkbenchError

FUEL = 1_000_000_000


class _Lenient(click.Command):
    """Takes arguments as the suite's runner passes them: empty ones, and all options as one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Leave out what is empty, and take options apart."""
        options = (a.split() if a.lstrip().startswith("-") else [a.strip()] for a in args)
        return super().parse_args(ctx, [word for words in options for word in words if word])


@click.command(cls=_Lenient)
@click.argument("memory", metavar="[MEMORY]", type=hex_bytes, default="", required=False)
@click.option(
    "--engine",
    type=click.Choice(["interpreter", "jit"]),
    default="interpreter",
    show_default=True,
    help="Who runs it.",
)
def plugin(memory: bytes, engine: str) -> int:
    """Run bytecode from standard input; print r0.

    Bytecode, MEMORY and r0 are hexadecimal, as the plugin protocol of bpf_conformance has them: r1
    points to the memory, r2 is its length.
    Nothing is verified; what goes wrong ends with status 1 and a message.

    \b
    echo b7 00 00 00 2a 00 00 00 95 00 00 00 00 00 00 00 | workbench plugin
    \f

    Raises WorkbenchError for input that is not hexadecimal, and a run that does not end in exit.
    """
    from workbench.bpf.program import Program

    text = sys.stdin.read()
    try:
        bytecode = hex_bytes(text)
    except click.BadParameter:
        raise WorkbenchError("standard input is not pairs of hexadecimal digits") from None
    program = Program("plugin", "raw", bytecode)
    result = _engine(engine)(program, verify=False).run(memory, FUEL)
    if result.stop != "exit":
        raise WorkbenchError(result.reason or f"no exit after {result.steps:,} steps")
    click.echo(f"{result.r0:x}")
    return 0


def _engine(name: str):  # type: ignore[no-untyped-def]
    if name == "jit":
        from workbench.engines.jit import Jit

        return Jit
    from workbench.engines.interpreter.engine import Interpreter

    return Interpreter
