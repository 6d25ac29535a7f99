"""`workbench run`: one program, or several in turn on one arena, and what came of it."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from workbench.bpf.program_types import PROGRAM_TYPES
from workbench.cli.objects import dump, shared_maps, with_globals
from workbench.cli.options import (
    INTERRUPTED,
    announce_compilation,
    arena_flags,
    complain,
    engine_option,
    file_argument,
    flag_option,
    hex_bytes,
    hex_number,
    json_option,
    located,
    names_option,
    read,
    type_option,
)
from workbench.errors import Unsupported, WorkbenchError
from workbench.files import replacing

if TYPE_CHECKING:
    from workbench.arena.either import AnyArena
    from workbench.bpf.program import Program
    from workbench.engines.base import Result
    from workbench.maps import Map
    from workbench.objects import Object

FUEL = 2_000_000_000  # some 5 seconds: more than any example needs, and an endless one ends
R0_BITS = {"interpreter": 64, "jit": 64, "kernel": 32}
PAGES = 1024  # of an arena that nobody declares
SHOWN = 256  # bytes of context in the text output


class Shared(NamedTuple):
    """What programs that run in turn have in common."""

    arena: "AnyArena"
    maps: "Mapping[str, Map]"


class Request(NamedTuple):
    """How to run: everything but the programs and the arena."""

    engine: str
    fuel: int | None
    trace: str | None
    verify: bool


@click.command()
@file_argument
@names_option
@engine_option
@click.option(
    "--pages", type=int, help="Size of the arena  [default: 1024, or what FILE.o declares]"
)
@click.option("--user-base", metavar="HEX", type=hex_number, help="User address of its first page.")
@flag_option
@click.option(
    "--ctx",
    "contexts",
    metavar="HEX",
    type=hex_bytes,
    multiple=True,
    help="Bytes of the context; repeated, one for each --program.",
)
@click.option("--memory", metavar="HEX", type=hex_bytes, help="Memory of a raw program.")
@type_option
@click.option(
    "--fuel",
    metavar="N",
    type=click.IntRange(0),
    help=f"Stop after N steps  [default: {FUEL:,}; the kernel has no such limit]",
)
@click.option(
    "--trace",
    "output",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Record every step: a .parquet table, or an .html page to step through.",
)
@click.option(
    "--set-global",
    "settings",
    metavar="NAME=VALUE",
    multiple=True,
    help="Initial value of a variable of FILE.o, a number or JSON; may be repeated.",
)
@click.option(
    "--dump-global",
    "dumped",
    metavar="NAME",
    multiple=True,
    help="Print a variable of FILE.o after the runs; may be repeated.",
)
@click.option("--no-verify", is_flag=True, help="Run on the run-time checks alone.")
@json_option
def run(
    file: str,
    names: tuple[str, ...],
    engine: str,
    pages: int | None,
    user_base: int | None,
    flags: tuple[str, ...],
    contexts: tuple[bytes, ...],
    memory: bytes | None,
    kind: str | None,
    fuel: int | None,
    output: Path | None,
    settings: tuple[str, ...],
    dumped: tuple[str, ...],
    no_verify: bool,
    as_json: bool,
) -> int:
    """Run a program of FILE: the first, or those named.

    Several --program run in turn on one arena and the same maps; the first that does not come to
    its exit is the last to run, and --json prints {"runs": [...], "globals": {...}}, as it does for
    one whose variables are dumped. Exit status 1 unless all came to their exit.
    """
    inputs = _inputs(contexts, memory, kind, len(names) or 1)
    _check_output(output, len(inputs))
    request = Request(engine, fuel, "steps" if output else None, not no_verify)
    results: list[Result] = []
    failure = None
    values: dict[str, Any] = {}
    try:
        declared = with_globals(file, settings, dumped)
        programs = read(file, names, kind or ("syscall" if memory is None else "raw"))
        with (
            _arena(engine, pages, arena_flags(flags), user_base, declared) as arena,
            shared_maps(engine, declared, programs) as maps,
        ):
            pairs = zip(programs, inputs, strict=bool(names))
            results.extend(_results(file, pairs, Shared(arena, maps), request))
            values = dump(declared, arena, maps, dumped)
    except WorkbenchError as error:
        failure = str(error)
    if output and results:
        _write_traces(output, results)
    _show(results, failure, engine, names or (Path(file).stem,), values, as_json)
    return _status(results, failure)


def _inputs(
    contexts: tuple[bytes, ...], memory: bytes | None, kind: str | None, runs: int
) -> list[bytes]:
    """Return what each run is given; UsageError for options that contradict each other."""
    row = PROGRAM_TYPES.get(kind or "")
    if memory is not None and (contexts or (row and not row.raw)):
        name = row.name if row and not row.raw else "syscall"
        raise click.UsageError(f"--memory is for raw programs; a {name} program takes --ctx")
    if contexts and row and row.raw:
        raise click.UsageError("--ctx is for syscall programs; a raw program takes --memory")
    if len(contexts) > 1 and len(contexts) != runs:
        raise click.UsageError(f"{len(contexts)} --ctx for {runs} --program; give one, or one each")
    given = list(contexts or (memory or b"",))
    return given * (runs // len(given))


def _check_output(output: Path | None, runs: int) -> None:
    """Refuse, before anything runs, a recording that could not be written."""
    if output is None:
        return
    if output.suffix not in (".parquet", ".html"):
        raise click.UsageError(f"--trace writes .parquet or .html, not '{output.name}'")
    if output.suffix == ".html" and runs > 1:
        raise click.UsageError("--trace FILE.html shows one run; give one --program")
    if not output.absolute().parent.is_dir():
        raise click.UsageError(f"--trace: there is no directory '{output.parent}'")


def _arena(
    engine: str, pages: int | None, flags: int, user_base: int | None, declared: "Object | None"
) -> "AnyArena":
    """Make the arena, and so check its options, whether or not a program will use it."""
    make: Callable[..., AnyArena]
    if engine == "kernel":
        from workbench.engines.kernel import KernelArena as make
    else:
        from workbench.arena import Arena as make
    if declared is not None and declared.arena_map is not None:
        return declared.arena(make, user_base, pages, flags)
    return make(PAGES if pages is None else pages, flags, user_base)


def _results(
    file: str, pairs: "Iterator[tuple[Program, bytes]]", shared: Shared, request: Request
) -> "Iterator[Result]":
    """Run programs in turn until one does not come to its exit."""
    for program, content in pairs:
        with located(file, program), _loaded(program, shared, request) as start:
            result = start(content)
        yield result
        if result.stop != "exit":
            return


@contextmanager
def _loaded(program: "Program", shared: Shared, request: Request) -> Iterator[Any]:
    """Load a program into the engine asked for; gives the function that runs it."""
    arena, maps = shared
    if request.engine == "kernel":
        from workbench.engines.kernel import Kernel, KernelArena

        assert isinstance(arena, KernelArena)
        if not request.verify:
            raise Unsupported("the kernel runs verified programs only; use --engine interpreter")
        with Kernel(program, arena if _uses_arena(program) else None, maps=maps) as kernel:
            yield lambda content: kernel.run(content, request.fuel, request.trace)
        return
    from workbench.arena import Arena
    from workbench.engines.interpreter.engine import Interpreter

    assert isinstance(arena, Arena)
    announce_compilation()
    used = arena if _uses_arena(program) else None
    fuel = FUEL if request.fuel is None else request.fuel
    if request.engine == "jit":
        from workbench.engines.jit import Jit

        with Jit(program, used, verify=request.verify, maps=maps) as jit:
            yield lambda content: jit.run(content, fuel, request.trace)
        return
    if request.engine == "auto":
        from workbench.engines.auto import Auto

        with Auto(program, used, verify=request.verify, maps=maps) as auto:
            yield lambda content: auto.run(content, fuel, request.trace)
        click.echo(f"Note: {program.name} ran on the {auto.choice}: {auto.reason}", err=True)
        return
    with Interpreter(program, used, verify=request.verify, maps=maps) as engine:

        def start(content: bytes) -> "Result":
            engine.run(content, 0, request.trace, capacity=1)  # loads compiled code, not timed
            return engine.run(content, fuel, request.trace)

        yield start


def _uses_arena(program: "Program") -> bool:
    """Whether a program names an arena, or loads a map as bytecode without names does."""
    from workbench.bpf.isa import Op

    operations = set(program.instructions["op"].tolist())
    return program.uses_arena or bool(operations & {Op.LD_MAP_FD, Op.LD_MAP_IDX, Op.LD_MAP_VALUE})


def _show(
    results: "list[Result]",
    failure: str | None,
    engine: str,
    names: Sequence[str],
    values: dict[str, Any],
    as_json: bool,
) -> None:
    """Print what happened: results to standard output, what went wrong to standard error."""
    if as_json:
        rows = [_row(result) for result in results]
        if failure is not None:
            rows.append(_refusal(engine, names[len(results)], failure))
        several = {"runs": rows, "globals": values}
        click.echo(json.dumps(rows[0] if len(names) == 1 and not values else several))
    else:
        for result in results:
            click.echo(_text(result))
        for name, value in values.items():
            click.echo(f"{name} = {value}")
    problem = failure or _problem(results[-1])
    if problem:
        complain(problem)


def _row(result: "Result") -> dict[str, object]:
    """Turn a result into JSON values; null is what the engine does not know."""
    return {
        "engine": result.engine,
        "program": result.program,
        "stop": result.stop,
        "r0": f"{result.r0:#x}",
        "r0_bits": R0_BITS[result.engine],
        "steps": None if result.engine == "kernel" else result.steps,
        "seconds": result.seconds,
        "ctx": result.ctx.hex(),
        "pc": None if result.pc < 0 else result.pc,
        "reason": result.reason,
        **({"printed": result.printed} if result.printed else {}),
    }


def _refusal(engine: str, program: str, reason: str) -> dict[str, object]:
    """Describe a program that did not run, with the keys of one that did."""
    unknown = dict.fromkeys(("r0", "r0_bits", "pc"))
    return {
        "engine": engine,
        "program": program,
        "stop": "refused",
        "steps": 0,
        "seconds": 0.0,
        "ctx": "",
        "reason": reason,
        **unknown,
    }


def _text(result: "Result") -> str:
    """Say a result in a line, what the program printed, and the context after the run."""
    bits = "" if R0_BITS[result.engine] == 64 else " (its low 32 bits)"
    steps = "steps not counted" if result.engine == "kernel" else f"{result.steps:,} steps"
    line = (
        f"{result.program} on {result.engine}: {result.stop}, r0 = {result.r0:#x}{bits}, "
        f"{steps}, {result.seconds * 1e3:.3g} ms"
    )
    lines = [line, *(f"printed: {text}" for text in result.printed)]
    if result.ctx:
        more = " ..." if len(result.ctx) > SHOWN else ""
        lines.append(f"ctx: {result.ctx[:SHOWN].hex(' ', -8)}{more}")
    return "\n".join(lines)


def _problem(result: "Result") -> str:
    """Say why a run did not come to its exit; "" if it did."""
    if result.stop == "fuel":
        return (
            f"{result.program} ran out of fuel after {result.steps:,} steps, at instruction "
            f"{result.pc}; it may be endless (--fuel N sets the limit)"
        )
    if result.stop == "interrupt":
        return f"{result.program} was interrupted after {result.steps:,} steps"
    return "" if result.stop == "exit" else f"{result.program}: {result.reason}"


def _status(results: "list[Result]", failure: str | None) -> int:
    if results and results[-1].stop == "interrupt":
        return INTERRUPTED
    return int(failure is not None or results[-1].stop != "exit")


def _write_traces(output: Path, results: "list[Result]") -> None:
    """Write the recorded steps: a table with the columns run and program, or a page."""
    traces = [result.trace for result in results if result.trace is not None]
    for trace in traces:
        if not trace.complete:
            click.echo(
                f"Note: {trace.program.name}: the first {len(trace):,} of "
                f"{trace.total_steps:,} steps were recorded",
                err=True,
            )
    if output.suffix == ".html":
        traces[0].to_html(output)
        return
    import pandas as pd

    frames = [trace.frame.reset_index() for trace in traces]
    for number, (frame, trace) in enumerate(zip(frames, traces, strict=True)):
        frame.insert(0, "run", number)
        frame.insert(1, "program", trace.program.name)
    with replacing(output) as temporary:
        pd.concat(frames, ignore_index=True).to_parquet(temporary, index=False)
