"""Who pays without conversion: user space's walks; how many of them make conversion worth it.

Walks are compiled code of this host; what engine built the structure makes no difference to them.
Builds are those of `conversion_overhead`, on the kernel.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from workbench.bpf.isa import Op
from workbench.evidence.measurement import effects
from workbench.experiments import results
from workbench.experiments.exhibit import Exhibit
from workbench.experiments.frames import reads
from workbench.experiments.repetition import (
    FULL,
    KEPT,
    Effort,
    kernel_refusal,
    label,
    repeated,
)
from workbench.models.conversion import break_even, user_side, workloads
from workbench.plots.figure import Figure, narrow, page, say_empty, styled
from workbench.plots.ratios import draw_ratios

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes

NAME = "walk_costs"
BUILDS = "conversion_overhead"
"""The exhibit, and the recorded result, that builds are read from."""
DEAR = 1.35
"""From this ratio on a walk by base and offset counts as dear: a third more, a bound chosen."""
CURVES = ("list", "hash", "tree")
"""Walks whose steps are the operations of their build."""
COUNTS = np.array([0, 1, 2, 5, 10, 20])
"""Walks per build that the curves are drawn at."""
COLUMNS = ("engine", "walk", "subject", "iteration", "value")


def measure(
    engine: str, process: int, instances: int, iterations: int, host: str, seed: int
) -> pd.DataFrame:
    """One process: every walk, over both kinds of pointers in turns."""
    parts = [
        user_side.time_walk(name, engine, instances, 2 * iterations, seed % 2**32).assign(walk=name)
        for name in user_side.WALKS
    ]
    return pd.concat(parts, ignore_index=True)


def run(effort: Effort = FULL, seed: int = 0, directory: Path | None = None) -> pd.DataFrame:
    """Measure walks in the mapping of a real arena, or, without one, in a copy of an emulated one.

    Columns: engine (that built), process, walk, those of `measurement.collect` (values in ns per
    node or lookup; subjects are flags of the arena), kind, host, date.
    """
    engine = "jit" if kernel_refusal() else "kernel"
    return repeated(measure, {"engine": [engine]}, effort, seed, directory)


@reads(*COLUMNS)
def ratios(frame: pd.DataFrame) -> pd.DataFrame:
    """What walking by base and offset takes, over what native pointers take."""
    return effects(frame, ["engine", "walk"], "no_user_conv", "conversion")


@reads(*COLUMNS, rows=True)
def break_evens(walks: pd.DataFrame, builds: pd.DataFrame | None = None) -> pd.DataFrame:
    """From how many walks per build on conversion pays: a row per structure.

    `builds` is a frame of `conversion_overhead` (None: the recorded one). Columns: structure,
    walks, low, high, build and walk cost in ns per operation with intervals, settled, verdict.
    """
    rows = []
    for name in CURVES:
        found = break_even.break_even(_costs(name, walks, builds))
        rows.append((name, found.walks, found.low, found.high, _spread(found.build),
                     _spread(found.walk), found.settled, found.verdict))  # fmt: skip
    columns = ["structure", "walks", "low", "high", "a build costs more, ns",
               "a walk costs less, ns", "settled", "verdict"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def _costs(name: str, walks: pd.DataFrame, builds: pd.DataFrame | None) -> break_even.Costs:
    """What conversion costs the kernel's build of a structure and saves its walk."""
    frame = results.load(BUILDS) if builds is None else builds
    builder = user_side.WALKS[name].builder
    program = workloads.workload(builder).program
    casts = bool((program.instructions["op"] == Op.CAST_USER).any())
    build = frame[(frame["workload"] == builder) & (frame["engine"] == "kernel")]
    return break_even.costs(build, walks[walks["walk"] == name], casts)


def _spread(side: tuple[float, float, float]) -> str:
    return f"{side[0]:.2f} [{side[1]:.2f}, {side[2]:.2f}]"


@styled
def plot(frame: pd.DataFrame, builds: pd.DataFrame | None = None) -> Figure:
    """The walks' ratios, and what conversion costs a build and its walks by how many there are."""
    figure = Figure(figsize=page(4.6 if narrow() else 2.5))
    figure.workbench_alt = describe(frame, builds)
    if frame.empty:
        say_empty(figure.subplots(), "nothing was measured")
        return figure
    top, *panels = figure.subplot_mosaic("ab;cd" if narrow() else "abcd").values()
    found = ratios(frame).assign(series="base and offset / native")
    draw_ratios(top, found, "walk", "series", most=4)
    top.set(xlabel="base and offset / native", title="One step")
    rows = break_evens(frame, builds).set_index("structure")
    for axes, name in zip(panels, CURVES, strict=True):
        _curve(axes, break_even.curve(_costs(name, frame, builds), COUNTS))
        axes.set_title(name.capitalize())
        axes.set_xlabel("walks per build")
        _write_crossing(axes, rows.loc[name])
    panels[0].set_ylabel("conversion costs more, ns")
    figure.workbench_caption = caption(frame, builds)
    return figure


def _curve(axes: "Axes", curve: pd.DataFrame) -> None:
    """What conversion costs more, with its band; grey where it has paid."""
    axes.axhline(0, color="0.5", linewidth=0.8)
    axes.plot(curve["walks"], curve["value"], "o-", color="C0")
    axes.fill_between(curve["walks"], curve["low"], curve["high"], color="C0", alpha=0.25, lw=0)
    bottom, top = curve["low"].min(), curve["high"].max()
    room = 0.35 * max(top - bottom, 0.1)
    bottom, top = bottom - 0.1 * room, top + room
    bottom = min(bottom, -0.3 * room)
    axes.axhspan(bottom, 0, color="0.5", alpha=0.15, linewidth=0, zorder=0)
    axes.set(ylim=(bottom, top), xlim=(0, curve["walks"].max()))
    axes.set_xticks((0, 5, 10, 20))


def _write_crossing(axes: "Axes", row: pd.Series) -> None:
    axes.annotate(
        _crossing(row), (0.05, 0.97), xycoords="axes fraction", va="top", fontsize="small"
    )


def _crossing(row: pd.Series) -> str:
    """The break-even's interval in a few words."""
    if np.isinf(row["low"]):
        return "never pays"
    if row["high"] == 0:
        return "pays at once"
    low, high = (f"{x:.0f}" if x >= 10 else f"{x:.1g}" for x in (row["low"], row["high"]))
    return f"pays from\n{low} to {high} on" if row["settled"] else "undecided"


def caption(frame: pd.DataFrame, builds: pd.DataFrame | None = None) -> str:
    """State the finding, from the data."""
    found = ratios(frame)
    each = ", ".join(f"{row.walk} {row.ratio:.2f}" for row in found.itertuples())
    most = "little" if (found["high"] < DEAR).all() else "noticeably"
    rules = "; ".join(f"{row.structure}: {row.verdict}" for row in _rules(frame, builds))
    return (
        f"User space pays {most} for pointers without their upper half: a step by base and offset "
        f"takes {found['ratio'].min():.2f} to {found['ratio'].max():.2f} times as long as by a "
        f"native pointer ({each}). {rules}; below 0, grey, conversion has paid."
    )


def _rules(frame: pd.DataFrame, builds: pd.DataFrame | None) -> "Iterator[Any]":
    return break_evens(frame, builds).itertuples()


@reads(*COLUMNS)
def describe(frame: pd.DataFrame, builds: pd.DataFrame | None = None) -> str:
    """Say in words what the figure shows."""
    if frame.empty:
        return "Cost of walks by user space: empty, nothing was measured."
    parts = [
        f"{row.walk} {row.a:.2f} ns against {row.b:.2f}, ratio {row.ratio:.2f} "
        f"[{row.low:.2f}, {row.high:.2f}]"
        for row in ratios(frame).itertuples()
    ]
    rules = [f"{row.structure}: {row.verdict}" for row in _rules(frame, builds)]
    return (
        "User space walking what a program built, by base and offset against native pointers; "
        f"walks of what {label(frame)} built. {'; '.join(parts)}. Break-even: {'; '.join(rules)}."
    )


@reads(*COLUMNS, rows=True)
def rule(frame: pd.DataFrame, builds: pd.DataFrame | None = None) -> str:
    """The decision rule in plain words (Markdown), drawn from the data."""
    builds = results.load(BUILDS) if builds is None else builds
    kernel = effects(builds[builds["engine"] == "kernel"], ["family", "workload"],
                     "conversion", "no_user_conv").set_index("workload")  # fmt: skip
    loop = kernel.loc["stores, 100 % pointers"]
    whole = kernel[kernel["family"] == "structures"]["ratio"]
    lines = [
        "**Does user space follow the pointers?** If not, set `NO_USER_CONV`. It costs nothing.",
        f"**Does the program store many?** Where hardly anything else happens, conversion takes "
        f"{loop['ratio']:.1f} times as long [{loop['low']:.1f}, {loop['high']:.1f}]; whole "
        f"programs that build or walk structures take {whole.min():.2f} to {whole.max():.2f} "
        "times as long. Most programs will not notice the flag.",
    ]
    for row in _rules(frame, builds):
        lines.append(f"**A {row.structure} built, and walked by user space:** {row.verdict}.")
    lines.append(
        "**Convenience decides the rest.** Native pointers can be followed by any library; with a "
        "base every reader must know that it has to add it."
    )
    return "\n".join(f"- {line}" for line in lines)


@reads(*COLUMNS, rows=True)
def claims(frame: pd.DataFrame, builds: pd.DataFrame | None = None) -> list[tuple[str, str, bool]]:
    """What the figure is to prove: claim, number, whether it holds."""
    found = ratios(frame)
    rows = break_evens(frame, builds)
    worst = found.loc[found["ratio"].idxmax()]
    return [
        (f"a walk by base and offset takes less than {DEAR} times as long",
         f"{worst['ratio']:.2f} [{worst['low']:.2f}, {worst['high']:.2f}]",
         bool((found["high"] < DEAR).all())),
        ("each structure's break-even is a bounded number of walks, or never",
         "; ".join(f"{row.structure} [{row.low:.2g}, {row.high:.2g}]" for row in rows.itertuples()),
         bool(rows["settled"].all())),
    ]  # fmt: skip


EXHIBIT = Exhibit(
    NAME, "what user space pays, and when conversion is worth it",
    lambda effort, kept, _: run(effort, directory=kept),
    lambda frame, earlier: plot(frame, earlier[BUILDS]),
    lambda frame, earlier: claims(frame, earlier[BUILDS]),
    cells=("engine", "walk"),
    tables=lambda frame, earlier: {
        "break_even": break_evens(frame, earlier[BUILDS]), "rule": rule(frame, earlier[BUILDS]),
    },
    record=lambda: run(KEPT),
)  # fmt: skip
