"""Commands about object files: cc, info; and the variables that `run` sets and shows."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from workbench.cli.options import file_argument, read_object
from workbench.errors import CompilationError, WorkbenchError
from workbench.files import write_whole

if TYPE_CHECKING:
    from workbench.arena.either import AnyArena
    from workbench.bpf.declarations import MapDefinition
    from workbench.bpf.program import Program
    from workbench.maps import Map
    from workbench.objects import Object


@click.command()
@file_argument
@click.option(
    "-o",
    "output",
    metavar="FILE.o",
    type=click.Path(path_type=Path),
    required=True,
    help="The object to write.",
)
@click.option(
    "--mcpu",
    type=click.Choice(["v3", "v4"]),
    default="v3",
    show_default=True,
    help="Version of the instruction set.",
)
def cc(file: str, output: Path, mcpu: str) -> int:
    """Compile the C of FILE to an object.

    With WORKBENCH_CC, else clang 19 or newer, else the extra cc. arena.h is found without -I.
    \f

    Raises WorkbenchError where there is no compiler, or the object cannot be written.
    """
    from workbench.objects.compiler import read_source, translate

    source = Path(file)
    try:
        translation = translate(read_source(source), mcpu, source.name, source.parent)
    except CompilationError as error:  # keeps its lines, so that the caret points
        click.echo(f"Error: {error}", err=True)
        return 1
    for warning in translation.warnings:
        click.echo(warning, err=True)
    write_whole(output, translation.content)
    return 0


@click.command()
@file_argument
def info(file: str) -> None:
    """Print the programs, functions, maps and variables of FILE.o.
    \f

    Raises WorkbenchError for a file that is not an object.
    """
    found = read_object(file)
    if found is None:
        raise WorkbenchError(f"{file}: not an object file (.o)")
    click.echo(f"license   {found.license}")
    for name, program in found.programs.items():
        optional = "  (not loaded unless asked)" if name in found.optional else ""
        click.echo(f"program   {name}  {program.type}  {len(program)} instructions{optional}")
        for function in program.subprograms[1:]:
            arguments = ", ".join(function.arguments)
            linkage = "global" if function.is_global else "static"
            click.echo(f"          {linkage} {function.name}({arguments}) at {function.pc}")
    for name, error in found.errors.items():
        click.echo(f"program   {name}  cannot be loaded: {_reason(name, error)}")
    for declared in found.maps.values():
        click.echo(f"map       {_map(declared)}")
    for variable in found.variables.values():
        value = found.globals[variable.name]
        shown = value if isinstance(value, int | float) else f"{variable.size} bytes"
        place = f"{variable.section}+{variable.offset}"
        click.echo(f"variable  {variable.name}  {_type(found, variable.type)}at {place}  = {shown}")


def _reason(name: str, error: WorkbenchError) -> str:
    return str(error).removeprefix(f"program '{name}': ")


def _type(found: "Object", number: int) -> str:
    from workbench.objects.values import c_name

    return f"{c_name(found.types, number)}  " if number else ""


def _map(declared: "MapDefinition") -> str:
    """A map in one line: type, sizes, and what its keys and values are."""
    parts = [declared.name, declared.type, f"{declared.max_entries} entries"]
    if declared.key_size:
        parts.append(f"key {declared.key_type or f'{declared.key_size} bytes'}")
    if declared.value_size:
        parts.append(f"value {declared.value_type or f'{declared.value_size} bytes'}")
    if declared.frozen:
        parts.append("read-only")
    return "  ".join([*parts, f"flags {declared.map_flags:#x}"])


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
        found.globals[name] = _value(setting, value)
    for name in dumped:
        _ = found.globals[name]
    return found


def _value(setting: str, text: str) -> object:
    """A number in any base, or JSON: a list for an array, an object for a structure, text."""
    with suppress(ValueError):
        return int(text, 0)
    try:
        value = json.loads(text)
    except ValueError:
        raise WorkbenchError(
            f"--set-global {setting}: expected NAME=NUMBER, or a value in JSON"
        ) from None
    return _encoded(value)


def _encoded(value: Any) -> Any:
    """Text as the bytes that C has for it, in lists and objects too."""
    if isinstance(value, list):
        return [_encoded(element) for element in value]
    if isinstance(value, dict):
        return {name: _encoded(element) for name, element in value.items()}
    return value.encode() if isinstance(value, str) else value


@contextmanager
def shared_maps(
    engine: str, found: "Object | None", programs: "Sequence[Program]"
) -> "Iterator[dict[str, Map]]":
    """Make the maps of an object, or of a file's programs, for the time that they run."""
    own = found.maps.values() if found else (map for one in programs for map in one.maps)
    definitions = [definition for definition in own if definition.type != "arena"]
    if not definitions:
        yield {}
        return
    from workbench.maps import Map, create

    make: Callable[[MapDefinition], Map] = Map
    if engine == "kernel":
        from workbench.engines import kernel

        make = kernel.kernel_map
    named = found.programs if found else {program.name: program for program in programs}
    with ExitStack() as stack:

        def kept(definition: "MapDefinition") -> "Map":
            return stack.enter_context(make(definition))

        yield create(definitions, programs=named, make=kept)


def dump(
    found: "Object | None", arena: "AnyArena", maps: "Mapping[str, Map]", names: Sequence[str]
) -> dict[str, Any]:
    """Read variables from arena and maps, as JSON values; bytes become hexadecimal digits."""
    if found is None or not names:
        return {}
    values = found.globals_in(arena if found.arena_map else None, maps)
    return {name: _plain(values[name]) for name in names}


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list):
        return [_plain(element) for element in value]
    if isinstance(value, dict):
        return {name: _plain(element) for name, element in value.items()}
    return value
