"""Commands about object files: cc, info; and the variables that `run` sets and shows."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from workbench.cli.options import file_argument, read_object
from workbench.errors import CompilationError, WorkbenchError

if TYPE_CHECKING:
    from workbench.objects import AnyArena, Object


@click.command()
@file_argument
@click.option("-o", "output", metavar="FILE.o", type=click.Path(path_type=Path), required=True)
@click.option("--mcpu", type=click.Choice(["v3", "v4"]), default="v3", show_default=True)
def cc(file: str, output: Path, mcpu: str) -> int:
    """Compile the C of FILE to an object.

    With WORKBENCH_CC, else clang 19 or newer, else the extra cc. arena.h is found without -I.
    """
    from workbench.compiler import compile_bytes, read_source

    source = Path(file)
    try:
        content = compile_bytes(read_source(source), mcpu, source.name, source.parent)
    except CompilationError as error:  # keeps its lines, so that the caret points
        click.echo(f"Error: {error}", err=True)
        return 1
    output.write_bytes(content)
    return 0


@click.command()
@file_argument
def info(file: str) -> None:
    """Print the programs, maps and variables of FILE.o."""
    found = read_object(file)
    if found is None:
        raise WorkbenchError(f"{file}: not an object file (.o)")
    click.echo(f"license   {found.license}")
    for name, program in found.programs.items():
        optional = "  (not loaded unless asked)" if name in found.optional else ""
        click.echo(f"program   {name}  {program.type}  {len(program)} instructions{optional}")
    for declared in found.maps.values():
        click.echo(
            f"map       {declared.name}  {declared.type}  {declared.max_entries} entries  "
            f"flags {declared.map_flags:#x}"
        )
    for variable in found.variables.values():
        value = found.globals[variable.name]
        shown = value if isinstance(value, int | float) else f"{variable.size} bytes"
        click.echo(f"variable  {variable.name}  at {variable.offset}  = {shown}")


def with_globals(file: str, settings: Sequence[str], dumped: Sequence[str]) -> "Object | None":
    """Read an object file with its variables set; None for a file of another kind.

    Raises WorkbenchError for names that it does not have, before anything runs.
    """
    found = read_object(file)
    if found is None:
        if settings or dumped:
            raise WorkbenchError(
                f"{file} has no variables; --set-global and --dump-global are for object files (.o)"
            )
        return None
    for setting in settings:
        name, _, value = setting.partition("=")
        found.globals[name] = _number(setting, value)
    for name in dumped:
        _ = found.globals[name]
    return found


def _number(setting: str, text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        raise WorkbenchError(f"--set-global {setting}: expected NAME=NUMBER") from None


def dump(found: "Object | None", arena: "AnyArena", names: Sequence[str]) -> dict[str, Any]:
    """Read variables from an arena, as JSON values; bytes become hexadecimal digits."""
    if found is None or not names:
        return {}
    values = found.globals_in(arena)
    return {name: _plain(values[name]) for name in names}


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list):
        return [_plain(element) for element in value]
    if isinstance(value, dict):
        return {name: _plain(element) for name, element in value.items()}
    return value
