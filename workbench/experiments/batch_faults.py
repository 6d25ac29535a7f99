"""Pages by the batch, and the faults of who uses them: how many, and what a page costs in all.

A program allocates PAGES pages, so and so many per call, and user space then touches each of them
once; batch 0 is user space alone, whose touch makes the page. Emulated and real arenas must have
the same faults, one after another.
"""

import numpy as np
import pandas as pd

from workbench.arena import Arena
from workbench.arena.rules import PAGE_SIZE
from workbench.bpf.assembler import assemble
from workbench.engines.interpreter.engine import Interpreter
from workbench.engines.kernel import FaultRecorder, Kernel, KernelArena
from workbench.errors import WorkbenchError
from workbench.models import faults
from workbench.plots.figure import (
    BLUE,
    GREEN,
    ORANGE,
    SKY,
    Figure,
    page_width,
    say_empty,
    styled,
)

NAME = "batch_faults"
BATCHES = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
PAGES = 512  # the largest batch: one call allocates them all

_ALLOCATE = """
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
    goto round
failed:
    r0 = 1
    exit
done:
    r0 = 0
    exit
"""


def run(repeats: int = 15, batches: tuple[int, ...] = BATCHES) -> pd.DataFrame:
    """Do it on both: columns batch, repeat, source, calls, fill, map, alloc_ns, touch_ns, same.

    Times are ns for each page on the real arena, NaN on the emulated one: `alloc_ns` of the
    program's run, `touch_ns` from one fault to the next. `same` says whether the sequences of
    faults are equal. Raises KernelError where there are no arenas.
    """
    rows = []
    for repeat in range(repeats):
        for batch in batches:
            model, _ = emulated(batch)
            real, seconds = measured(batch)
            same = faults.sequence(model) == faults.sequence(real)
            touch = float(np.median(np.diff(real["ns"])))
            alloc = seconds / PAGES * 1e9
            for source, found, times in (
                ("emulated", model, (np.nan, np.nan)), ("kernel", real, (alloc, touch))
            ):  # fmt: skip
                counts = found["cause"].value_counts()
                values = (int(counts["fill"]), int(counts["map"]), *times, same)
                rows.append((batch, repeat, source, PAGES // batch if batch else 0, *values))
    names = ["batch", "repeat", "source", "calls", "fill", "map", "alloc_ns", "touch_ns", "same"]
    return pd.DataFrame(rows, columns=names).assign(kind="measured")


def _allocate(engine: "Interpreter | Kernel", batch: int) -> float:
    """Let the program allocate all pages; returns seconds."""
    result = engine.run(ctx=(PAGES // batch).to_bytes(8, "little"))
    if result.r0:
        raise WorkbenchError(f"{result.program} got no {batch} pages on {result.engine}")
    return result.seconds


def emulated(batch: int) -> tuple[pd.DataFrame, float]:
    """The faults of the emulated arena, and what the program took."""
    with Arena(PAGES) as arena:
        seconds = 0.0
        if batch:
            program = assemble(_ALLOCATE.format(batch=batch), name=f"batch_{batch}")
            with Interpreter(program, arena=arena) as engine:
                seconds = _allocate(engine, batch)
        for page in range(PAGES):
            arena.user.store(arena.user_start + page * PAGE_SIZE, "u8", 1)
        return faults.fault_frame(arena.events), seconds


def measured(batch: int) -> tuple[pd.DataFrame, float]:
    """The faults of a real arena as perf reports them, and what the program took."""
    with KernelArena(PAGES) as arena:
        seconds = 0.0
        if batch:
            program = assemble(_ALLOCATE.format(batch=batch), name=f"batch_{batch}")
            with Kernel(program, arena) as engine:
                seconds = _allocate(engine, batch)
        content = arena.bytes
        with FaultRecorder(arena) as recorder:
            for page in range(PAGES):
                content[page * PAGE_SIZE] = 1
        return faults.fault_frame(recorder.events), seconds


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Medians on Linux: batch, calls, fill, map, and ns for each page, allocated and touched."""
    real = frame[frame["source"] == "kernel"]
    columns = ["calls", "fill", "map", "alloc_ns", "touch_ns"]
    return real.groupby("batch")[columns].median().reset_index()


@styled
def plot(frame: pd.DataFrame, label: str = "") -> Figure:
    """Draw faults, and ns for a page allocated and touched, by pages per call."""
    figure = Figure(figsize=(page_width(), 2.7))
    left, right = figure.subplots(1, 2)
    left.set(title="Faults of user space", ylabel=f"faults on {PAGES} pages")
    right.set(title="Time for a page", ylabel="ns (measured)")
    figure.workbench_alt = describe(frame)
    if frame.empty:
        for axes in (left, right):
            axes.set_xlabel("pages per call")
            say_empty(axes, "nothing ran")
        return figure
    table = summary(frame)
    at = np.arange(len(table))
    for axes, parts in (
        (left, (("fill", "touch makes the page", BLUE, ""),
                ("map", "touch maps the page", ORANGE, "///"))),
        (right, (("alloc_ns", "program allocates", GREEN, "..."),
                 ("touch_ns", "user touches", SKY, ""))),
    ):  # fmt: skip
        below = np.zeros(len(table))
        for column, said, colour, hatch in parts:
            axes.bar(at, table[column], 0.8, below, color=colour, hatch=hatch, label=said,
                     edgecolor="white", linewidth=0)  # fmt: skip
            below += table[column]
        ticks = [str(batch) if batch else "none" for batch in table["batch"]]
        axes.set_xticks(at[::2], ticks[::2])
        axes.set_xlabel("pages per call")
        axes.grid(False, axis="x")
    handles = [handle for axes in (left, right) for handle in axes.containers]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    if label:
        figure.suptitle(label, fontsize="medium")
    figure.workbench_caption = caption(frame)
    return figure


def caption(frame: pd.DataFrame) -> str:
    """State the finding."""
    table = summary(frame).set_index("batch")
    total = table["alloc_ns"] + table["touch_ns"]
    one, most = table.index[table.index > 0].min(), table.index.max()
    return (
        f"Batches save no fault: user space faults once on each page, however it was allocated. "
        f"A page that the touch itself makes takes {total.get(0, np.nan):,.0f} ns; allocated by a "
        f"program and touched, {total[one]:,.0f} ns by {one} and {total[most]:,.0f} ns by {most}."
    )


def describe(frame: pd.DataFrame) -> str:
    """Say in words what the figure shows."""
    if frame.empty:
        return "Faults and time by batch: empty, nothing ran."
    agree = "equal" if frame["same"].all() else "NOT equal"
    return f"{caption(frame)} Emulated sequences of faults are {agree}."
