"""What the commands share: options, the programs of a file, errors that say where they are."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from workbench.bpf.program_types import PROGRAM_TYPES
from workbench.errors import AssemblyError, DecodeError, VerificationError, WorkbenchError

if TYPE_CHECKING:
    from workbench.bpf.program import Program
    from workbench.objects import Object

ENGINES = ("interpreter", "jit", "auto", "kernel")
FLAGS = ("no_user_conv", "segv_on_fault")
INTERRUPTED = 130  # what shells report for a process that SIGINT ended


def complain(message: str) -> None:
    """Write one line to standard error."""
    click.echo(f"Error: {' '.join(message.split())}", err=True)


def hex_bytes(text: str) -> bytes:
    """Read bytes from pairs of hexadecimal digits; white space and a leading 0x do not count.

    Raises click.BadParameter for anything else.
    """
    try:
        return bytes.fromhex("".join(text.split()).removeprefix("0x"))
    except ValueError:
        raise click.BadParameter(f"'{text}' is not pairs of hexadecimal digits") from None


def hex_number(text: str) -> int:
    """Read a hexadecimal number of up to 64 bits, with or without 0x; raises click.BadParameter."""
    try:
        return int.from_bytes(int(text, 16).to_bytes(8))
    except (ValueError, OverflowError):
        raise click.BadParameter(f"'{text}' is not a hexadecimal number of 64 bits") from None


file_argument = click.argument("file", metavar="FILE")
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
names_option = click.option(
    "--program",
    "names",
    metavar="NAME",
    multiple=True,
    help="A program of the file, by name; may be repeated.",
)
name_option = click.option("--program", "name", metavar="NAME", help="A program of the file.")
engine_option = click.option(
    "--engine",
    type=click.Choice(ENGINES),
    default="interpreter",
    show_default=True,
    help="Who runs it, or verifies it.",
)
flag_option = click.option(
    "--flag",
    "flags",
    type=click.Choice(FLAGS, case_sensitive=False),
    multiple=True,
    help="Flag of the arena; may be repeated.",
)
type_option = click.option(
    "--type",
    "kind",
    type=click.Choice(list(PROGRAM_TYPES)),
    help="Type of program, where FILE names none  [default: syscall]",
)


def announce_compilation() -> None:
    """Say at a terminal what the next half minute is for, once for each version."""
    from workbench.compiled.kept import FOLDER

    if not sys.stderr.isatty():
        return
    if FOLDER.path is None or not any(FOLDER.path.glob("*.execute-*.nbi")):
        click.echo("Compiling the interpreter, once for this version: half a minute", err=True)


@contextmanager
def located(file: str, program: "Program | None" = None) -> Iterator[None]:
    """Have errors about a program's text raised as a WorkbenchError that begins with FILE:LINE."""
    try:
        yield
    except (AssemblyError, DecodeError, VerificationError) as error:
        raise WorkbenchError(f"{place(file, program, getattr(error, 'pc', -1))}: {error}") from None


def place(file: str, program: "Program | None", pc: int) -> str:
    """Name the source line of an instruction as FILE:LINE, or the file alone."""
    line = program.line_of(pc) if program is not None and pc >= 0 else None
    return f"{line.file or file}:{line.line}" if line else file


def read(file: str, names: Sequence[str], kind: str | None) -> "list[Program]":
    """Read the named programs of a file, in the order of the names; all without a name.

    Of an object's programs, those in sections that begin with "?" are left out. Raises
    WorkbenchError for a name that the file lacks, and for a file that cannot be read.
    """
    declared = read_object(file)
    if declared is not None:
        asked = names or [name for name in declared.programs if name not in declared.optional]
        return [declared.program(name) for name in asked or declared.programs]
    from workbench.bpf.files import read_programs

    with located(file):
        found = read_programs(file, kind or "syscall")
    for name in names:
        if name not in found:
            raise WorkbenchError(f"no program '{name}' in {file}; it has {', '.join(found)}")
    return [found[name] for name in names or found]


def read_object(file: str) -> "Object | None":
    """Read an object file; None for a file of another kind, which the suffix .o says."""
    if not file.endswith(".o"):
        return None
    from workbench.objects import load_object

    return load_object(file)


def arena_flags(flags: Sequence[str]) -> int:
    """Turn names of flags into their number."""
    from workbench.arena.rules import ArenaFlags

    return sum(int(ArenaFlags[flag.upper()]) for flag in set(flags))
