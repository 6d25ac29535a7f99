"""What a page costs by how many are asked for at once: bpf_arena_alloc_pages and its opposite.

One program allocates and frees again and again, so and so many pages per call; the kernel clears
every page that it gives, and so does the emulated arena when it gives one again. Linux 6.18 unmaps
a freed run page by page (arena_free_pages calls vm_area_unmap_pages in a loop).
"""

from pathlib import Path

import pandas as pd

from workbench.bpf.assembler import assemble
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
from workbench.models.conversion.timing import each_engine
from workbench.models.conversion.workloads import Workload
from workbench.plots.figure import Figure, page, plain_ticks, say_empty, styled

NAME = "batch_costs"
COLUMNS = ("batch", "engine", "subject", "iteration", "value", "kind", "host")
ENGINES = ("kernel", "jit")
BATCHES = (1, 4, 16, 64, 256)  # equal steps on the figure's axis
PAGES = 256  # allocated and freed in one run, whatever the batch

_PAIRS = """
    r6 = *(u64 *)(r1 + 0)
round:
    may_goto done
    if r6 == 0 goto done
    r6 -= 1
    r1 = arena ll
    r2 = 0
    r3 = {batch}
    r4 = -1
    r5 = 0
    call bpf_arena_alloc_pages
    if r0 == 0 goto failed
    r2 = r0
    r1 = arena ll
    r3 = {batch}
    call bpf_arena_free_pages
    goto round
done:
    r0 = 1
    exit
failed:
    r0 = 0
    exit
"""


def workload(batch: int) -> Workload:
    """Allocate and free PAGES pages, `batch` per call."""
    program = assemble(_PAIRS.format(batch=batch), name=f"batch_{batch}")
    ctx = (PAGES // batch).to_bytes(8, "little")
    return Workload(f"{batch} pages", "batch", program, 2 * PAGES, ctx, PAGES, "page", r0=1)


def measure(
    engines: tuple[str, ...], process: int, instances: int, iterations: int, host: str, seed: int
) -> pd.DataFrame:
    """One process: every batch size, engines in turns."""
    cases = ((batch, each_engine(workload(batch), engines)) for batch in BATCHES)
    return in_turns("batch", cases, instances, iterations, 2, seed)


def run(effort: Effort = FULL, seed: int = 0, directory: Path | None = None) -> pd.DataFrame:
    """Measure; without a usable kernel, its rows are the recorded ones.

    Columns: process, batch (pages per call), engine, those of `measurement.collect` (ns per page,
    allocated and freed), kind, host, date.
    """
    return on_engines(measure, NAME, ENGINES, effort, seed, directory)


@reads(*COLUMNS)
def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Ns per page with intervals: engine, batch, value, low, high, kind."""
    return means_by_engine(frame, "batch")


@styled
def plot(frame: pd.DataFrame) -> Figure:
    """Ns per page by pages per call, with intervals, on log axes."""
    figure = Figure(figsize=page(2.6))
    axes = figure.subplots()
    figure.workbench_alt = describe(frame)
    if frame.empty:
        say_empty(axes, "nothing was measured")
        return figure
    looks = {"kernel": ("o-", "C0", "Linux"), "jit": ("s--", "C1", "emulated, jit")}
    for engine, rows in summary(frame).groupby("engine", sort=False):
        line, colour, said = looks[str(engine)]
        axes.plot(rows["batch"], rows["value"], line, color=colour, label=said)
        axes.fill_between(rows["batch"], rows["low"], rows["high"], color=colour, alpha=0.2)
    axes.set(yscale="log", xlabel="pages per call", ylabel="ns per page")
    axes.set_xscale("log", base=2)
    axes.set_xticks(BATCHES, [str(batch) for batch in BATCHES])
    plain_ticks(axes.yaxis)
    axes.set_title("A page allocated and freed")
    axes.legend()
    figure.workbench_caption = caption(frame)
    return figure


@reads(*COLUMNS, rows=True)
def caption(frame: pd.DataFrame) -> str:
    """State the finding."""
    parts = [
        f"{name} {single:,.0f} ns one by one and {many:,.0f} ns by {BATCHES[-1]}"
        for name, single, many in _ends(frame)
    ]
    single, many = next(costs for name, *costs in _ends(frame) if name == "kernel")
    return (
        f"A page allocated and freed: {'; '.join(parts)}. What a batch saves Linux differs from "
        f"machine to machine and with their load: here it is a factor of {single / many:.1f}."
    )


def _ends(frame: pd.DataFrame) -> list[tuple[str, float, float]]:
    """Each engine's ns per page, one by one and in the largest batch."""
    cost = summary(frame).set_index(["engine", "batch"])["value"]
    engines = dict.fromkeys(frame["engine"])
    return [(name, cost[name, 1], cost[name, BATCHES[-1]]) for name in engines]


@reads(*COLUMNS)
def describe(frame: pd.DataFrame) -> str:
    """Say in words what the figure shows."""
    if frame.empty:
        return "Cost of pages by batch: empty, nothing was measured."
    parts = [
        f"{row.engine} by {row.batch} {row.value:,.0f} ns ({row.kind})"
        for row in summary(frame).itertuples()
    ]
    said = "; ".join(parts)
    return f"Time to allocate and free a page, by pages per call: {said}. {label(frame)}."


@reads(*COLUMNS, rows=True)
def claims(frame: pd.DataFrame) -> list[tuple[str, str, bool]]:
    """What the figure is to prove: claim, number, whether it holds."""
    ends = {name: (single, many) for name, single, many in _ends(frame)}
    single, many = ends["kernel"]
    return [
        (f"asking for {BATCHES[-1]} pages at once costs Linux at most a quarter more for each",
         f"{many:,.0f} and {single:,.0f} ns", bool(many <= 1.25 * single)),
        ("a page of the emulated arena costs no more than Linux's, one by one",
         f"{ends['jit'][0]:,.0f} and {single:,.0f} ns", bool(ends["jit"][0] <= single)),
    ]  # fmt: skip


EXHIBIT = Exhibit(
    NAME, "what pages cost by the batch",
    lambda effort, kept, _: run(effort, directory=kept),
    lambda frame, _: plot(frame),
    lambda frame, _: claims(frame),
    cells=("batch",), record=run,
)  # fmt: skip
