"""A measurement repeated in new processes, one after another, as a sweep: kept, and resumable.

Besides, the parts of such measurements that several experiments share.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

from workbench.errors import KernelError, Unsupported, WorkbenchError
from workbench.evidence import provenance
from workbench.evidence.measurement import Opening, collect, geometric_mean, typical
from workbench.experiments import results
from workbench.experiments.sweep import Sweep

if TYPE_CHECKING:
    import pandas as pd

FRAME_COLUMNS = ("seed", "status", "error", "seconds")


class Effort(NamedTuple):
    """How often to repeat: processes, engine instances in each, iterations of each."""

    processes: int
    instances: int
    iterations: int


QUICK = Effort(6, 1, 5)
FULL = Effort(20, 1, 25)
KEPT = Effort(12, 1, 9)  # recorded with every single time: files in git are to stay small
TOUCH = Effort(1, 1, 2)  # a look whether it runs


def repeated(
    measure: Callable[..., Any],
    grid: Mapping[str, Sequence[Any]],
    effort: Effort,
    seed: int = 0,
    directory: Path | str | None = None,
) -> "pd.DataFrame":
    """Call `measure(process=, instances=, iterations=, seed=, **point)` at each point of a grid.

    Every call has a process of its own, and no two run at the same time. Columns: the grid's,
    process, what `measure` returns, kind ("measured"), host and date. What an earlier call of the
    same code on this machine has kept in `directory` is used again; without one nothing is. Raises
    WorkbenchError with the first failure.
    """
    if directory is None:
        with TemporaryDirectory() as temporary:
            return repeated(measure, grid, effort, seed, temporary)
    host = _host()
    repeats: dict[str, Sequence[Any]] = {
        "process": range(effort.processes), "instances": [effort.instances],
        "iterations": [effort.iterations], "host": [host],
    }  # fmt: skip
    # processes change fastest, so that what drifts over the day disturbs all points
    sweep = Sweep(measure, {**repeats, **grid}, seed, directory)
    context = get_context("spawn")
    with ProcessPoolExecutor(1, context, max_tasks_per_child=1) as pool:
        frame = sweep.run(pool)
    if (frame["status"] == "interrupted").any():
        raise KeyboardInterrupt
    if (frame["status"] != "ok").any():
        failed = frame[frame["status"] != "ok"].iloc[0]
        where = ", ".join(f"{name} {failed[name]}" for name in grid)
        raise WorkbenchError(f"measuring failed ({where}): {failed['error']}")
    about = provenance.provenance()
    kept = frame.drop(columns=["instances", "iterations", *FRAME_COLUMNS])
    kept["kind"], kept["date"] = "measured", str(about["date"])[:10]
    parameters = {"grid": {name: list(values) for name, values in grid.items()}, **effort._asdict()}
    kept.attrs = {provenance.KEY: about, "parameters": parameters, "seed": seed}
    return kept


def on_engines(
    measure: Callable[..., Any],
    name: str,
    engines: Sequence[str],
    effort: Effort,
    seed: int = 0,
    directory: Path | str | None = None,
) -> "pd.DataFrame":
    """Call `measure(engines=, ...)` as `repeated` does, with the engines that work here.

    Where programs cannot run in this machine's kernel, the rows of engine "kernel" are those
    recorded as `name`. Raises WorkbenchError with the first failure.
    """
    refusal = kernel_refusal()
    usable = tuple(engine for engine in engines if engine != "kernel" or not refusal)
    frame = repeated(measure, {"engines": [usable]}, effort, seed, directory)
    frame = frame.drop(columns="engines")
    return with_recorded(frame, results.load(name)) if refusal else frame


def in_turns(
    column: str,
    cases: Iterable[tuple[object, Mapping[str, Opening]]],
    instances: int,
    iterations: int,
    warmup: int,
    seed: int,
) -> "pd.DataFrame":
    """Measure cases one after another in this process, the engines of each in turns.

    A case is its value in `column` and, by engine, what opens an instance. Columns: those of
    `measurement.collect`, `column` and engine.
    """
    import pandas as pd

    parts = []
    for value, engines in cases:
        frame = collect(engines, instances, iterations, warmup, seed % 2**32)
        parts.append(frame.assign(**{column: value, "engine": frame["subject"]}))
    return pd.concat(parts, ignore_index=True)


def means_by_engine(frame: "pd.DataFrame", column: str) -> "pd.DataFrame":
    """Geometric means of each engine's times at each value of `column`, with 95 % intervals.

    Columns: engine, `column`, value, low and high in the frame's unit, kind.
    """
    import pandas as pd

    rows = []
    for (engine, at), part in frame.groupby(["engine", column], sort=False):
        found = geometric_mean(typical(part)[0][engine].to_numpy())
        rows.append((engine, at, *found, part["kind"].iloc[0]))
    return pd.DataFrame(rows, columns=["engine", column, "value", "low", "high", "kind"])


def kernel_refusal() -> str:
    """Why programs cannot run in this machine's kernel; "" if they can."""
    from workbench.engines.kernel import KernelArena

    try:
        KernelArena(1).close()
    except (KernelError, Unsupported, OSError) as error:
        return str(error)
    return ""


def with_recorded(
    measured: "pd.DataFrame", recorded: "pd.DataFrame", column: str = "engine"
) -> "pd.DataFrame":
    """Add the recorded kernel rows to a frame measured without a kernel, marked as recorded."""
    import pandas as pd

    kernel = recorded[recorded[column] == "kernel"].assign(kind="recorded")
    frame = pd.concat([kernel, measured], ignore_index=True)
    frame.attrs = measured.attrs
    return frame


def label(frame: "pd.DataFrame") -> str:
    """Say of a frame which engines were measured where, and which recorded where and when."""
    parts = []
    for (kind, host), rows in frame.groupby(["kind", "host"], sort=False):
        engines = ", ".join(dict.fromkeys(rows["engine"])) if "engine" in rows else ""
        when = f", {rows['date'].iloc[0]}" if kind == "recorded" else ""
        parts.append(f"{engines} {kind} ({host}{when})".strip())
    return "; ".join(parts)


def _host() -> str:
    about = provenance.provenance()
    return f"{about['kernel']}, {about['cpu']}"
