"""All that is known of one program's casts, in one table: static and dynamic counts, code, times.

For a workload by name, or for a program of one's own. Every row says what its numbers are: a
model, or measured on an engine and host, or recorded there.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from workbench.bpf.isa import Op
from workbench.bpf.program import Program
from workbench.errors import KernelError, Unsupported
from workbench.evidence import provenance
from workbench.evidence.measurement import effect
from workbench.experiments import results
from workbench.experiments.repetition import kernel_refusal, label
from workbench.models.conversion import counts, machine_code, timing, workloads
from workbench.models.conversion.timing import FLAGS
from workbench.models.conversion.workloads import Workload

if TYPE_CHECKING:
    from workbench.arena import Arena

COLUMNS = ("what", "engine", *FLAGS, "ratio", "low", "high", "unit", "says")
INSTANCES, ITERATIONS = 8, 5
MODEL = "model"


def together(what: str | Program | Workload, times: pd.DataFrame | None = None) -> pd.DataFrame:
    """Everything about the casts of a workload, by name, or of a program that needs no setup.

    `times` is a frame of `conversion_overhead.run`; None measures here, in this process. Columns:
    what, engine ("" for counts that every engine shares), conversion, no_user_conv, ratio with its
    95 % interval, unit, says (model, measured or recorded, and where). Raises WorkbenchError for
    an unknown name, or a program that does not come to its exit.
    """
    load = workload(what)
    rows = [*_static(load), *_dynamic(load), *_code(load), *_times(load, times)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def workload(what: str | Program | Workload) -> Workload:
    """What is to be compared, as a workload; a program counts as one operation."""
    if isinstance(what, Program):
        return Workload(what.name, "own", what, 1024, b"", 1, "run")
    return workloads.workload(what) if isinstance(what, str) else what


def null_share(load: Workload) -> float:
    """The share of NULL among the pointers that the first million steps convert; NaN of none."""
    from workbench.arena import Arena
    from workbench.engines.interpreter.engine import Interpreter

    with Arena(load.pages) as arena, Interpreter(load.program, arena) as engine:
        prepare(load, arena)
        events = engine.run(load.ctx, fuel=1_000_000, trace="events").events
    assert events is not None
    casts = events[events["kind"] == "cast_user"]
    return float((casts["address"] == 0).mean()) if len(casts) else float("nan")


def prepare(load: Workload, arena: "Arena") -> None:
    """Bring a fresh arena to where the workload starts."""
    from workbench.engines.interpreter.engine import Interpreter

    if load.reset is not None:
        load.reset(arena)
    if load.setup is not None:
        load.setup(arena, Interpreter)


def _static(load: Workload) -> Iterator[tuple[Any, ...]]:
    """cast_users in the text, and what the verifiers leave of them."""
    casts = int((load.program.instructions["op"] == Op.CAST_USER).sum())
    yield _counted("cast_user in the program's text", "", (casts, casts), "casts", MODEL)
    try:
        left = [_left_by_linux(load, flag) for flag in FLAGS]
    except (KernelError, Unsupported):
        return
    yield _counted("cast_user after Linux's verifier", "kernel", left, "casts", _here("kernel"))


def _left_by_linux(load: Workload, flag: str) -> int:
    from workbench.engines.kernel import Kernel, KernelArena

    with KernelArena(load.pages, FLAGS[flag]) as arena, Kernel(load.program, arena) as loaded:
        return sum("cast_user(" in line for line in loaded.report.listing)


def _dynamic(load: Workload) -> Iterator[tuple[Any, ...]]:
    """Casts executed in one run, by the interpreter's exact counts."""
    frame = counts.compare(
        load.program, load.pages, load.ctx, prepare=lambda arena: prepare(load, arena)
    )
    table = frame.pivot(index="metric", columns="flag", values="value")[list(FLAGS)]
    units = counts.METRICS
    for metric in ("instructions_executed", "cast_kern_executed", "conversions_executed",
                   "moves_executed", "native"):  # fmt: skip
        what = metric.replace("_", " ").replace("native", "x86-64 instructions of casts executed")
        yield _counted(what, "", table.loc[metric], units[metric], MODEL)
    share = null_share(load)
    yield _counted("NULL among pointers converted", "", (share, float("nan")), "share", MODEL)


def _code(load: Workload) -> Iterator[tuple[Any, ...]]:
    """Machine code of the whole program, and what a cast adds to it."""
    for engine in ("kernel", "jit"):
        try:
            frame, says = machine_code.sizes([load], engine), _here(engine)
        except (KernelError, Unsupported):
            frame, says = _recorded_code(load.name)
        if frame.empty:
            continue
        flags = frame.set_index("flag")
        added = machine_code.per_cast(frame)
        for column in ("instructions", "bytes"):
            sides = [flags.loc[flag, column] for flag in FLAGS]
            yield _counted(f"machine code, {column}", engine, sides, column, says)
            if len(added):
                sides = [added[column].iloc[0], 0.0]
                yield _counted(f"{column} that a cast_user adds", engine, sides, column, says)


def _recorded_code(name: str) -> tuple[pd.DataFrame, str]:
    """Recorded sizes of the kernel's machine code; an empty frame for a program of one's own."""
    frame = results.load("code_sizes")
    about = provenance.describe(frame.attrs[provenance.KEY])
    return frame[frame["workload"] == name], f"recorded (kernel, {about})"


def _times(load: Workload, times: pd.DataFrame | None) -> Iterator[tuple[Any, ...]]:
    """ns per operation on each engine, with the ratio's interval."""
    unit = f"ns per {load.unit}"
    for engine in timing.ENGINES:
        if times is None:
            if engine == "kernel" and kernel_refusal():
                continue
            part = timing.time_workload(load, engine, INSTANCES, ITERATIONS)
            says = _here(engine)
        else:
            part = times[(times["workload"] == load.name) & (times["engine"] == engine)]
            if part.empty:
                continue
            says = label(part)
        found = effect(part, "conversion", "no_user_conv")
        yield ("time", engine, found.a, found.b, found.ratio, found.low, found.high, unit, says)


def _counted(
    what: str, engine: str, sides: Any, unit: str, says: str
) -> tuple[str, str, float, float, float, float, float, str, str]:
    """A row of exact numbers."""
    one, other = (float(side) for side in sides)
    ratio = one / other if other else float("nan")
    return what, engine, one, other, ratio, np.nan, np.nan, unit, says


def _here(engine: str) -> str:
    about = provenance.provenance()
    return f"measured ({engine}, {about['kernel']}, {about['cpu']})"


def code_sizes() -> pd.DataFrame:
    """Sizes of the kernel's machine code for every workload, to be recorded."""
    return machine_code.sizes(workloads.names(), "kernel")
