"""What the first touch of a page costs user space, and an absent page a program.

User side: one byte written to each of many fresh pages, less the same loop over pages that are
there; memory of an arena and ordinary anonymous memory take turns. Program side: loops of loads.
"""

import mmap
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd

from workbench.arena.rules import PAGE_SIZE
from workbench.engines.kernel import UNROLL, Kernel, KernelArena, loop, rounds_ctx, time_engines
from workbench.errors import KernelError
from workbench.experiments.exhibit import Exhibit
from workbench.experiments.frames import reads
from workbench.experiments.repetition import Effort
from workbench.experiments.results import here_or_recorded
from workbench.plots.figure import BLUE, GREY, Figure, legend_below, page, say_empty, styled

COLUMNS = ("case", "repeat", "value", "unit")
PAGES = 1024  # fresh ones in a sample, some 1.5 ms of faults
USER = {
    "arena, absent page": "the touch makes the page",
    "arena, page of a program": "the touch maps a page that a program allocated",
    "anonymous memory": "the touch makes a page of private memory (small pages)",
}
LOADS = {
    "load, present": ("r2 = *(u64 *)(r1 + 0)", 1 << 14),
    "load, chain": ("r1 = *(u64 *)(r1 + 0)\nr1 = cast_kern(r1)", 1 << 14),
    "load, absent": ("r2 = *(u64 *)(r1 + 4096)", 1 << 6),
}
"""Body and rounds; the chain follows a pointer of the page to itself."""
REFERENCE = {"arena, absent page": 1530, "anonymous memory": 1340,
             "load, present": 0.7, "load, absent": 620}  # fmt: skip
"""ns, from another x86-64 virtual machine with Linux 6.18.44."""


def run(repeats: int = 20, pages: int = PAGES) -> pd.DataFrame:
    """Time all of it, the alternatives in turns.

    Columns case, repeat, value, unit ("ns per page" or "ns per load"), kind ("measured"). Raises
    KernelError or Unsupported where the kernel cannot be asked.
    """
    frame = pd.concat([_user_side(repeats, pages), _program_side(repeats)], ignore_index=True)
    frame.attrs["parameters"] = {"repeats": repeats, "pages": pages}
    return frame


@reads(*COLUMNS, rows=True)
def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """Median and quartiles of each case, and the reference number."""
    quartiles = frame.groupby("case")["value"].quantile([0.25, 0.5, 0.75]).unstack()
    quartiles.columns = ["low", "median", "high"]
    order = [case for case in [*USER, *LOADS] if case in quartiles.index]
    table = quartiles.loc[order, ["median", "low", "high"]]
    table["unit"] = frame.groupby("case")["unit"].first()
    table["reference"] = pd.Series(REFERENCE, dtype=float)
    return table


@styled
def plot(frame: pd.DataFrame, label: str = "") -> Figure:
    """Draw each case's median with quartiles, on a log scale; `label` says where from."""
    figure = Figure(figsize=page(3.4))
    axes = figure.subplots()
    figure.workbench_alt = describe(frame)
    if frame.empty:
        say_empty(axes, "nothing was measured")
        return figure
    table = summary(frame)
    for row, (_, values) in enumerate(table.iterrows()):
        axes.plot([values["low"], values["high"]], [row, row], color=BLUE, linewidth=3, alpha=0.5)
        axes.plot(values["median"], row, "o", color=BLUE)
        axes.plot(values["reference"], row, "o", color=GREY, markerfacecolor="none")
        axes.annotate(
            f"{_short(values['median'])} ns",
            (values["median"], row),
            (0, 5),
            fontsize="small",
            textcoords="offset points",
            ha="center",
        )
    axes.set(xscale="log", xlabel="ns per page or load (left is faster)")
    axes.xaxis.set_major_formatter("{x:,g}")
    axes.margins(x=0.08)
    axes.plot([], [], "o", color=BLUE, label="median, quartiles")
    axes.plot([], [], "o", color=GREY, markerfacecolor="none", label="another machine")
    legend_below(figure, axes)
    axes.set_yticks(range(len(table)), list(table.index))
    axes.set_ylim(len(table) - 0.5, -0.8)
    title = "First touches and absent pages"
    figure.suptitle(f"{title}, {label}" if label else title)
    return figure


@reads(*COLUMNS)
def describe(frame: pd.DataFrame) -> str:
    """Say in words what the figure shows."""
    if frame.empty:
        return "Cost of first touches and absent pages: empty, nothing was measured."
    parts = [f"{name} {_short(row['median'])}" for name, row in summary(frame).iterrows()]
    return f"Medians of the cost of touches and loads, in ns: {'; '.join(parts)}."


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _user_side(repeats: int, pages: int) -> pd.DataFrame:
    """Touch fresh pages of each kind in turns."""
    rows = []
    renew = _anonymous(pages)
    with KernelArena(pages) as arena:
        content = arena.bytes

        def allocated() -> np.ndarray:
            arena.reset()
            if arena.alloc(pages) == 0:
                raise KernelError("ENOMEM", f"the kernel has not {pages} pages to spare")
            return content

        def absent() -> np.ndarray:
            arena.reset()
            return content

        kinds: tuple[Callable[[], np.ndarray], ...] = (absent, allocated, renew)
        for repeat in range(-1, repeats):  # the first round is for warming up
            for case, prepare in zip(USER, kinds, strict=True):
                value = _per_page(prepare(), pages)
                rows += [(case, repeat, value, "ns per page", "measured")] if repeat >= 0 else []
    return pd.DataFrame(rows, columns=["case", "repeat", "value", "unit", "kind"])


def _per_page(content: np.ndarray, pages: int) -> float:
    """ns per page for a first pass over pages, less a second."""
    times = []
    for _ in range(2):
        start = time.perf_counter_ns()
        content[::PAGE_SIZE] = 1
        times.append(time.perf_counter_ns() - start)
    return (times[0] - times[1]) / pages


def _anonymous(pages: int) -> Callable[[], np.ndarray]:
    """Private memory in small pages, given as a function that empties it again."""
    memory = mmap.mmap(-1, pages * PAGE_SIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if Path("/sys/kernel/mm/transparent_hugepage").exists():
        memory.madvise(mmap.MADV_NOHUGEPAGE)
    content = np.frombuffer(memory, np.uint8)

    def renew() -> np.ndarray:
        memory.madvise(mmap.MADV_DONTNEED)
        return content

    return renew


def _program_side(repeats: int) -> pd.DataFrame:
    """Time loads from a page that is there and one that is not."""
    parts = []
    with ExitStack() as stack:
        arena = stack.enter_context(KernelArena(2))
        page = arena.alloc(1)
        arena.user.store(page, "u64", page)
        for name, (body, rounds) in LOADS.items():
            program = loop(body, "r1 = arena + 0 ll\nr1 = cast_kern(r1)", "loads")
            engine = stack.enter_context(Kernel(program, arena))
            parts.append(time_engines({name: engine}, rounds_ctx(rounds), UNROLL * rounds, repeats))
    samples = pd.concat(parts)
    return pd.DataFrame({
        "case": samples["name"], "repeat": samples["round"], "value": samples["ns_per_operation"],
        "unit": "ns per load", "kind": "measured",
    })  # fmt: skip


def caption(frame: pd.DataFrame) -> str:
    """State the finding."""
    cost = summary(frame)["median"]
    return (
        f"User space pays {cost['arena, absent page']:,.0f} ns for the first touch of an arena's "
        f"page, {cost['arena, absent page'] / cost['anonymous memory']:.2f} times that of "
        f"anonymous memory; a program's load from an absent page takes "
        f"{cost['load, absent']:,.0f} ns, from a present one {cost['load, present']:.2f} ns."
    )


def claims(frame: pd.DataFrame) -> list[tuple[str, str, bool]]:
    """What the figure is to prove: claim, number, whether it holds."""
    cost = summary(frame)["median"]
    arena, anonymous = cost["arena, absent page"], cost["anonymous memory"]
    absent, present = cost["load, absent"], cost["load, present"]
    return [
        ("the first touch of an arena's page costs more than of anonymous memory",
         f"{arena:,.0f} and {anonymous:,.0f} ns", bool(arena > anonymous)),
        ("a touch that only maps a page costs less than one that makes it",
         f"{cost['arena, page of a program']:,.0f} and {arena:,.0f} ns",
         bool(cost["arena, page of a program"] < arena)),
        ("a program's load from an absent page costs over 100 times a present one's",
         f"{absent / present:,.0f} ×", bool(absent > 100 * present)),
    ]  # fmt: skip


def _here_or_recorded(effort: Effort) -> pd.DataFrame:
    """Touch costs of this machine; where its kernel lets nobody in, those recorded."""
    found = here_or_recorded("touch_costs", lambda: run(4 * effort.processes, 512))
    return found.frame.assign(kind="recorded" if found.recorded else "measured")


def _with_caption(frame: pd.DataFrame) -> Figure:
    figure = plot(frame, str(frame["kind"].iloc[0]))
    figure.workbench_caption = caption(frame)
    return figure


EXHIBIT = Exhibit(
    "fault_costs", "what first touches and absent pages cost",
    lambda effort, _, __: _here_or_recorded(effort),
    lambda frame, _: _with_caption(frame),
    lambda frame, _: claims(frame),
)  # fmt: skip
