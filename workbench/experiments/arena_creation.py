"""What making an arena costs: create, map and close, by size, emulated and in the kernel."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pandas as pd

from workbench.arena import Arena
from workbench.experiments.exhibit import Exhibit
from workbench.experiments.frames import reads
from workbench.experiments.repetition import (
    FULL,
    Effort,
    in_turns,
    label,
    means_by_engine,
    on_engines,
)
from workbench.plots.figure import Figure, page, plain_ticks, say_empty, styled

NAME = "arena_creation"
COLUMNS = ("pages", "engine", "subject", "iteration", "value", "kind", "host")
SIZES = (1, 1 << 10, 1 << 20)
ENGINES = ("emulated", "kernel")
LIMIT = 1_000_000  # ns: what an emulated arena of 4 GiB may take


def measure(
    engines: tuple[str, ...], process: int, instances: int, iterations: int, host: str, seed: int
) -> pd.DataFrame:
    """One process: arenas of every size, made and closed, engines in turns."""
    cases = ((n, {name: partial(_maker, name, n) for name in engines}) for n in SIZES)
    return in_turns("pages", cases, instances, 3 * iterations, 3, seed)


@contextmanager
def _maker(engine: str, pages: int) -> Iterator[Callable[[], float]]:
    """Gives a function that makes and closes an arena, and returns the ns."""
    if engine == "kernel":
        from workbench.engines.kernel import KernelArena as Made
    else:
        Made = Arena  # type: ignore[assignment, misc]

    def run() -> float:
        began = time.perf_counter_ns()
        Made(pages).close()
        return time.perf_counter_ns() - began

    yield run


def run(effort: Effort = FULL, seed: int = 0, directory: Path | None = None) -> pd.DataFrame:
    """Measure; without a usable kernel, its rows are the recorded ones.

    Columns: process, pages, engine ("emulated" or "kernel"), those of `measurement.collect` (ns
    per arena), kind, host, date.
    """
    return on_engines(measure, NAME, ENGINES, effort, seed, directory)


@reads(*COLUMNS)
def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Ns per arena with intervals: engine, pages, value, low, high, kind."""
    return means_by_engine(frame, "pages")


@styled
def plot(frame: pd.DataFrame) -> Figure:
    """Time by size for both, with intervals, on log axes."""
    figure = Figure(figsize=page(2.6))
    axes = figure.subplots()
    figure.workbench_alt = describe(frame)
    if frame.empty:
        say_empty(axes, "nothing was measured")
        return figure
    for number, (engine, rows) in enumerate(summary(frame).groupby("engine", sort=False)):
        micros = rows[["value", "low", "high"]] / 1000
        line, colour = ("o-", "s--")[number], f"C{number}"
        axes.plot(rows["pages"], micros["value"], line, color=colour, label=engine)
        axes.fill_between(rows["pages"], micros["low"], micros["high"], color=colour, alpha=0.2)
    axes.set(xscale="log", yscale="log", xlabel="pages of the arena", ylabel="µs, lower is faster")
    axes.set_xscale("log", base=2)
    axes.set_xticks(SIZES, ["1", "1,024", "1,048,576\n(4 GiB)"])
    plain_ticks(axes.yaxis)
    axes.set_title("Making and closing an arena")
    axes.legend()
    figure.workbench_caption = caption(frame)
    return figure


@reads(*COLUMNS, rows=True)
def caption(frame: pd.DataFrame) -> str:
    """State the finding."""
    rows = summary(frame)
    largest = rows[rows["pages"] == SIZES[-1]].set_index("engine")["value"] / 1000
    parts = [f"{value:.0f} µs {engine}" for engine, value in largest.items()]
    return (
        f"An empty arena of 4 GiB is made and closed in {' and '.join(parts)}: no page is touched."
    )


@reads(*COLUMNS)
def describe(frame: pd.DataFrame) -> str:
    """Say in words what the figure shows."""
    if frame.empty:
        return "Cost of making arenas: empty, nothing was measured."
    parts = [
        f"{row.engine} {row.pages:,} pages {row.value / 1000:.1f} µs ({row.kind})"
        for row in summary(frame).itertuples()
    ]
    return f"Time to make and close an arena, by size: {'; '.join(parts)}. {label(frame)}."


@reads(*COLUMNS, rows=True)
def claims(frame: pd.DataFrame) -> list[tuple[str, str, bool]]:
    """What the figure is to prove: claim, number, whether it holds."""
    rows = summary(frame).set_index(["engine", "pages"])["value"]
    large = rows["emulated", SIZES[-1]]
    return [
        ("an emulated arena of 4 GiB is made within 1 ms", f"{large / 1000:.0f} µs",
         bool(large <= LIMIT)),
    ]  # fmt: skip


EXHIBIT = Exhibit(
    NAME, "what making an arena costs",
    lambda effort, kept, _: run(effort, directory=kept),
    lambda frame, _: plot(frame),
    lambda frame, _: claims(frame),
    cells=("pages",), record=run,
)  # fmt: skip
