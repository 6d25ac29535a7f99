"""What pointer conversion costs: one program, run with and without NO_USER_CONV, counted.

`cast_user` turns an arena pointer into the form that user space can follow. Without the flag that
is a conversion: put the upper half of the arena's user address in, unless the pointer is NULL.
With `NO_USER_CONV` it is a plain 32-bit move. The BPF instructions executed are the same; what
differs is what a cast does, and so what a JIT compiler emits for it.

All numbers here are exact counts from the emulated arena (`kind` "model"), not times.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.arena import Arena, ArenaFlags
from workbench.bpf.isa import Op
from workbench.bpf.program import Program
from workbench.engines.base import Engine
from workbench.errors import WorkbenchError

MOVE = 1  # x86-64 instructions for cast_kern, and for cast_user under NO_USER_CONV
CONVERT_IN_PLACE = 6  # shl, or, rol, xor, test, cmove (Linux 6.18, bpf_jit_comp.c)
CONVERT_COPY = 7  # and a move into another register before

COLUMNS = ("program", "flag", "metric", "value", "unit", "kind")


class Casts(NamedTuple):
    """How often the casts of a program occur in it and were executed.

    `conversions` are cast_users that really convert; `moves` are those that NO_USER_CONV turned
    into 32-bit moves. `native` is the number of x86-64 instructions that Linux's JIT compiler
    emits for the casts executed, cast_kern included: a model of their cost, not a time.
    """

    instructions_executed: int
    cast_kern_static: int
    cast_kern_executed: int
    conversions_static: int
    conversions_executed: int
    moves_static: int
    moves_executed: int
    native: int


METRICS = {
    "instructions_executed": "BPF instructions",
    "cast_kern_static": "instructions in the program",
    "cast_kern_executed": "casts",
    "conversions_static": "instructions in the program",
    "conversions_executed": "casts",
    "moves_static": "instructions in the program",
    "moves_executed": "casts",
    "native": "x86-64 instructions",
}
"""The unit of each field of Casts."""


def count_casts(
    instructions: np.ndarray, executed: NDArray[np.uint64], no_user_conv: bool
) -> Casts:
    """Count a program's casts, given how often each slot was executed.

    `instructions` are its INSTRUCTION records and `executed` u64[n] counts for the same slots.
    Raises ValueError where their lengths differ.
    """
    if len(instructions) != len(executed):
        raise ValueError(f"{len(executed)} counts for {len(instructions)} instructions")
    counts = np.asarray(executed, np.uint64)
    kern, user = instructions["op"] == Op.CAST_KERN, instructions["op"] == Op.CAST_USER
    in_place = instructions["dst"] == instructions["src"]
    price = np.where(in_place, CONVERT_IN_PLACE, CONVERT_COPY).astype(np.uint64)
    price[kern | no_user_conv] = MOVE
    converts = user & (not no_user_conv)
    moves = user & no_user_conv
    return Casts(
        instructions_executed=int(counts.sum()),
        cast_kern_static=int(kern.sum()),
        cast_kern_executed=int(counts[kern].sum()),
        conversions_static=int(converts.sum()),
        conversions_executed=int(counts[converts].sum()),
        moves_static=int(moves.sum()),
        moves_executed=int(counts[moves].sum()),
        native=int((counts * price)[kern | user].sum()),
    )


def compare(
    program: Program,
    pages: int = 1024,
    ctx: bytes = b"",
    fuel: int | None = None,
    engine: Callable[[Program, Arena], Engine] | None = None,
    prepare: Callable[[Arena], object] | None = None,
) -> pd.DataFrame:
    """Run a program in two fresh arenas, with and without NO_USER_CONV, and count its casts.

    Both arenas have `pages` pages; `ctx` and `fuel` are those of `Engine.run`, and `engine` makes
    the engine (default: the interpreter); `prepare` fills each arena before. Returns one row per
    flag ("conversion", "no_user_conv") and metric, see Casts, with its `value`, `unit` and `kind`
    "model". Frames of several programs may be put together with `pandas.concat`. Raises
    WorkbenchError unless both runs come to their exit: half a run compares nothing.
    """
    plain = count_run(program, ArenaFlags(0), pages, ctx, fuel, engine, prepare)
    flagged = count_run(program, ArenaFlags.NO_USER_CONV, pages, ctx, fuel, engine, prepare)
    return pd.concat(
        [tidy(program.name, "conversion", plain), tidy(program.name, "no_user_conv", flagged)],
        ignore_index=True,
    )


def count_run(
    program: Program,
    flags: ArenaFlags,
    pages: int,
    ctx: bytes,
    fuel: int | None,
    engine: Callable[[Program, Arena], Engine] | None,
    prepare: Callable[[Arena], object] | None = None,
) -> Casts:
    """Run a program once in a fresh arena with these flags and count its casts.

    Parameters are those of `compare`. Raises WorkbenchError unless the run comes to its exit, and
    for an engine that does not count.
    """
    with Arena(pages=pages, flags=flags) as arena, (engine or _interpreter)(program, arena) as run:
        if prepare is not None:
            prepare(arena)
        result = run.run(ctx=ctx, fuel=fuel, trace="counts")
    if result.stop != "exit":
        reason = f"{result.stop} at instruction {result.pc} {result.reason}".rstrip()
        raise WorkbenchError(f"{program.name} did not come to its exit: {reason}")
    if result.trace is None:
        raise WorkbenchError(f"the {result.engine} engine does not count; use the interpreter")
    counted = count_casts(
        program.instructions, result.trace.counts, ArenaFlags.NO_USER_CONV in flags
    )
    return counted


def tidy(program: str, flag: str, casts: Casts) -> pd.DataFrame:
    """Turn the counts of one run into rows of program, flag, metric, value, unit, kind."""
    rows = [
        (program, flag, metric, value, METRICS[metric], "model")
        for metric, value in casts._asdict().items()
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _interpreter(program: Program, arena: Arena) -> Engine:
    from workbench.engines.interpreter.engine import Interpreter

    return Interpreter(program, arena=arena)
