"""Pick a workload and see all of it: what it does, counts, machine code, times, who pays."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pandas as pd

from workbench.evidence.measurement import outliers, warning
from workbench.experiments import conversion_overhead, results, together, walk_costs
from workbench.experiments.repetition import label
from workbench.models.conversion import user_side, workloads
from workbench.plots.figure import Figure, page_width, styled

if TYPE_CHECKING:
    from workbench.widgets.chooser import Chooser

LOOKS = (("conversion", "C0", "o"), ("no_user_conv", "C1", "s"))


def explore(times: pd.DataFrame | None = None, walks: pd.DataFrame | None = None) -> "Chooser":
    """A widget: the reader picks a workload and sees what conversion does to it.

    `times` and `walks` come from `conversion_overhead.run` and `walk_costs.run`; None takes the
    recorded ones.
    """
    from workbench.widgets.chooser import Chooser

    times = results.recorded(conversion_overhead.NAME) if times is None else times
    walks = results.recorded(walk_costs.NAME) if walks is None else walks
    names = list(dict.fromkeys(times["workload"]))
    return Chooser(names, lambda name: list(sheet(name, times, walks)), "Workload")


def sheet(name: str, times: pd.DataFrame, walks: pd.DataFrame) -> Iterator[Any]:
    """What conversion does to a workload: Markdown, tables and figures, in order."""
    load = workloads.workload(name)
    mine = times[times["workload"] == name]
    yield f"### {name}\n\n{load.meaning}; {load.operations:,} × one {load.unit} per run."
    yield "**All together**: counts, machine code, times; each row says where from."
    table = together.together(load, mine).set_index(["what", "engine"]).round(3)
    yield table.astype(object).where(table.notna(), "")
    noise = [
        f"{engine} {said}" for engine, part in mine.groupby("engine") if (said := warning(part))
    ]
    yield f"**Times**: {label(mine)}. {'; '.join(noise)}"
    yield samples(mine)
    yield opening(mine)
    yield from _user_side(name, times, walks)


def _user_side(name: str, times: pd.DataFrame, walks: pd.DataFrame) -> Iterator[Any]:
    """What user space pays to walk the structure, if it is one."""
    walk = next((w.name for w in user_side.WALKS.values() if w.builder == name), None)
    if walk is None:
        yield "**User space** has nothing to walk here."
        return
    yield "**User space** walks it: base and offset (under `NO_USER_CONV`) over native pointers."
    heads = {"a": "base and offset, ns", "b": "native, ns"}
    found = walk_costs.ratios(walks[walks["walk"] == walk]).drop(columns=["engine", "level"])
    yield found.rename(columns=heads).round(3)
    if walk in walk_costs.CURVES:
        rows = walk_costs.break_evens(walks, times).set_index("structure")
        yield f"**Rule**: {rows.loc[walk, 'verdict']}."


def opening(frame: pd.DataFrame) -> str:
    """What it took to load, verify and compile a workload: no part of the times of its runs."""
    median = frame[frame["phase"] == "open"].groupby("engine", sort=False)["value"].median()
    times = ", ".join(f"{engine} {ns / 1e6:.2g} ms" for engine, ns in median.items())
    return f"Making an arena and loading the program, not in these times: {times}."


@styled
def samples(frame: pd.DataFrame) -> Figure:
    """Every single iteration of a workload, by engine; outliers are crosses."""
    engines = list(dict.fromkeys(frame["engine"]))
    figure = Figure(figsize=(page_width(), 0.9 + 0.75 * len(engines)))
    timed = frame[frame["phase"] == "timed"].copy()
    timed["far"] = pd.concat([outliers(part) for _, part in timed.groupby("engine")])
    for axes, engine in zip(
        figure.subplots(len(engines), 1, squeeze=False)[:, 0], engines, strict=True
    ):
        for row, (flag, colour, marker) in enumerate(LOOKS):
            part = timed[(timed["engine"] == engine) & (timed["subject"] == flag)]
            for far, sign in ((False, marker), (True, "x")):
                values = part[part["far"] == far]["value"]
                axes.plot(values, [row] * len(values), sign, color=colour, alpha=0.4, markersize=4)
            axes.plot([part["value"].median()] * 2, [row - 0.35, row + 0.35], color="0.2")
        axes.set_yticks((0, 1), ("conversion", "NO_USER_CONV"))
        axes.set(ylim=(1.6, -0.6), xscale="log")
        axes.set_title(engine)
        axes.xaxis.set_major_formatter("{x:.4g}")
        axes.xaxis.set_minor_formatter("{x:.4g}")
        axes.tick_params(axis="x", which="minor", labelsize="x-small")
    axes.set_xlabel("ns per operation (crosses: outliers, kept)")
    figure.workbench_alt = (
        f"Every iteration of {frame['workload'].iloc[0]} under both flags: "
        f"{len(timed)} on {', '.join(engines)}, {int(timed['far'].sum())} of them outliers."
    )
    return figure
