"""Views of a fault frame (workbench.models.faults): each draws one table of faults.tables.

Up to DOTS faults are drawn one by one; more are counted in cells, a panel for each cause, so that
ten million take as long as a few.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, LogNorm
from matplotlib.ticker import (
    EngFormatter,
    LogLocator,
    MaxNLocator,
    NullFormatter,
    PercentFormatter,
)

from workbench.models.faults import CAUSES, NAMES, tables
from workbench.plots.figure import (
    BLUE,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    Figure,
    legend_below,
    legend_beside,
    narrow,
    page,
    plural,
    say_empty,
    styled,
)

DOTS = 20_000  # beyond, dots cover each other; and a PDF holds every one of them
FEW = 40  # places that a page has room to draw one by one
MEANING = {cause.name: cause.meaning for cause in CAUSES}


class Look(NamedTuple):
    """How a cause is drawn: marker, dashes and hatch tell it apart as well as the colour."""

    colour: str
    marker: str
    dashes: object
    hatch: str
    filled: bool = True


LOOKS = {
    "fill": Look(BLUE, "o", "-", ""),
    "map": Look(SKY, "D", "--", "///", filled=False),
    "refused": Look(VERMILION, "X", (0, (1, 1)), "xxx"),
    "absent_read": Look(ORANGE, "v", "-.", "..."),
    "dropped_write": Look(PURPLE, "^", (0, (5, 1)), "\\\\\\"),
}


COUNTS = ListedColormap(matplotlib.colormaps["cividis_r"](np.linspace(0.2, 1, 256)))
"""Without the lightest colours, which one fault on white paper would be lost in."""


def _occurring(faults: pd.DataFrame) -> list[str]:
    counts = np.bincount(faults["cause"].cat.codes.to_numpy(), minlength=len(NAMES))
    return [name for name, count in zip(NAMES, counts, strict=True) if count]


@styled
def address_time(faults: pd.DataFrame, clock: str = "time") -> Figure:
    """Draw each fault at its moment and page; beyond DOTS faults, how many lie in each cell.

    `clock` is one of tables.CLOCKS. Faults outside the arena are at page -1.
    """
    names = _occurring(faults)
    if len(faults) <= DOTS:
        figure = Figure(figsize=page(3.8))
        axes = figure.subplots()
        _dots(axes, faults, clock, names)
        axes.set(title="Page faults by address and time", ylabel="page of the arena")
        legend_below(figure, axes)
    else:
        figure = Figure(figsize=(7.0, 1.2 + 1.15 * len(names)))
        rows = figure.subplots(len(names), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
        _density(figure, list(rows), faults, clock, names)
        axes = rows[-1]
    _time_axis(axes, clock)
    figure.workbench_alt = describe(faults)
    return figure


def describe(faults: pd.DataFrame) -> str:
    """Say in one sentence what faults there are."""
    if faults.empty:
        return "Page faults: empty, nothing faulted."
    table = tables.by_cause(faults)
    parts = [
        f"{MEANING[row.cause]}, {row.faults:,}× on {plural(row.pages, 'page')}"
        for row in table.itertuples()
    ]
    return f"{plural(len(faults), 'page fault')}: {'; '.join(parts)}."


def _dots(axes: Axes, faults: pd.DataFrame, clock: str, names: Sequence[str]) -> None:
    """Draw each fault as a marker of its cause; those after a free have a black edge."""
    moment, page = tables.moments(faults, clock), faults["page"].to_numpy()
    cause, freed = faults["cause"].to_numpy(), faults["after_free"].to_numpy(bool)
    for name in names:
        look, own = LOOKS[name], cause == name
        label = f"{MEANING[name]} ({own.sum():,})"
        axes.plot(
            moment[own], page[own], look.marker, color=look.colour, label=label, clip_on=False,
            markersize=5 if look.filled else 3.5, markeredgewidth=0.3 if look.filled else 1,
            markerfacecolor=look.colour if look.filled else "none",
        )  # fmt: skip
    if freed.any():
        axes.plot(
            moment[freed], page[freed], "s", color="none", markeredgecolor="black",
            markersize=8, markeredgewidth=0.8, label=f"after a free ({freed.sum():,})",
        )  # fmt: skip
    axes.margins(x=0.02)
    if not names:
        say_empty(axes, "nothing faulted")
    else:
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))


def _density(
    figure: Figure, rows: Sequence[Axes], faults: pd.DataFrame, clock: str, names: Sequence[str]
) -> None:
    """Draw a panel of counts for each cause, all on one scale."""
    counts, limits = tables.density(faults, clock)
    norm = LogNorm(1, max(2, counts.max()))
    for axes, name in zip(rows, names, strict=True):
        own = counts[NAMES.index(name)]
        image = axes.imshow(
            np.where(own > 0, own, np.nan), cmap=COUNTS, norm=norm, origin="lower",
            aspect="auto", interpolation="nearest", extent=limits,
        )  # fmt: skip
        axes.set_title(f"{MEANING[name]} ({own.sum():,})", fontsize="medium", fontweight="normal")
        axes.grid(False)
        axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
        axes.yaxis.set_major_formatter(EngFormatter(sep=""))
    figure.colorbar(image, ax=list(rows), label="faults in a cell", pad=0.01)
    figure.supylabel("page of the arena", fontsize="medium")


def _time_axis(axes: Axes, clock: str) -> None:
    axes.set_xlabel(tables.CLOCKS[clock])
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))


def _panel(
    title: str, ylabel: str, draw: Callable[[Axes, pd.DataFrame, str], None]
) -> Callable[..., Figure]:
    """Make a view out of a function that draws faults into an axes."""

    def view(faults: pd.DataFrame, clock: str = "time") -> Figure:
        figure = Figure(figsize=page(2.6))
        axes = figure.subplots()
        axes.set(title=title, ylabel=ylabel, xlabel="faults")
        if faults.empty:
            say_empty(axes, "nothing faulted")
        else:
            draw(axes, faults, clock)
            legend_beside(figure, axes)
        figure.workbench_alt = f"{title}. {describe(faults)}"
        return figure

    view.__doc__, view.__name__ = draw.__doc__, draw.__name__.removeprefix("draw_")
    return styled(view)


def draw_cumulative(axes: Axes, faults: pd.DataFrame, clock: str) -> None:
    """Draw how many faults there were so far, a line for each cause."""
    table = tables.cumulative(faults, clock)
    for name in _occurring(faults):
        look = LOOKS[name]
        axes.step(table["time"], table[name], linestyle=look.dashes, where="post",
                  color=look.colour, label=name.replace("_", " "))  # fmt: skip
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(EngFormatter(sep=""))
    _time_axis(axes, clock)


def draw_rate(axes: Axes, faults: pd.DataFrame, clock: str) -> None:
    """Draw how many faults lie in each window of time, stacked by cause."""
    table = tables.rate(faults, clock, max(1, min(60, len(faults) // 10)))
    low = np.zeros(len(table))
    width = table["end"] - table["start"]
    for name in _occurring(faults):
        look = LOOKS[name]
        axes.bar(
            table["start"], table[name], width, low, align="edge", color=look.colour,
            hatch=look.hatch, edgecolor="white", linewidth=0, label=name.replace("_", " "),
        )  # fmt: skip
        low = low + table[name]
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(EngFormatter(sep=""))
    _time_axis(axes, clock)


def draw_latency(axes: Axes, faults: pd.DataFrame, clock: str) -> None:
    """Draw the distribution of ns from one fault to the next: an upper bound of its own cost."""
    code, step = tables.steps(faults)
    axes.set_xlabel("ns to the next fault (log scale, measured)")
    if not step.size:
        say_empty(axes, "nothing was measured: emulated faults have no ns")
        return
    for name in _occurring(faults):
        ns = np.sort(np.maximum(step[code == NAMES.index(name)], 1))
        if not ns.size:
            continue
        picked = np.unique(np.linspace(0, len(ns) - 1, 2000).astype(int))
        look = LOOKS[name]
        axes.step(ns[picked], (picked + 1) / len(ns), linestyle=look.dashes, color=look.colour,
                  where="post", label=f"{name.replace('_', ' ')} ({len(ns):,})")  # fmt: skip
    axes.set_xscale("log")
    short = step.max() < 100 * max(step.min(), 1)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if short else (1,)))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))


def draw_first(axes: Axes, faults: pd.DataFrame, clock: str) -> None:
    """Draw how many faults of each cause were a page's first, repeats, or after a free."""
    table = tables.first_and_repeat(faults)
    table = table[table[["first", "repeat", "after_free"]].sum(axis=1) > 0].reset_index()
    left = np.zeros(len(table))
    for part, colour, hatch in (("first", BLUE, ""), ("repeat", ORANGE, "///"),
                                ("after_free", VERMILION, "xxx")):  # fmt: skip
        axes.barh(table.index, table[part], left=left, color=colour, hatch=hatch,
                  edgecolor="white", linewidth=0, label=part.replace("_", " "))  # fmt: skip
        left = left + table[part]
    axes.set_yticks(table.index, [name.replace("_", " ") for name in table["cause"]])
    axes.set_ylim(max(len(table), 3) - 0.5, -0.5)  # one bar alone would fill the figure
    axes.set(xlabel="faults", ylabel="")
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.grid(False, axis="y")


def draw_causes(axes: Axes, faults: pd.DataFrame, clock: str) -> None:
    """Draw how many faults each cause has."""
    table = tables.by_cause(faults).reset_index(drop=True)
    for row in table.itertuples():
        look = LOOKS[row.cause]
        axes.barh(row.Index, row.faults, color=look.colour, hatch=look.hatch, edgecolor="white",
                  linewidth=0)  # fmt: skip
        axes.annotate(f" {row.faults:,} on {plural(row.pages, 'page')}", (row.faults, row.Index),
                      va="center", fontsize="small")  # fmt: skip
    said = {name: name.replace("_", " ") for name in NAMES} if narrow() else MEANING
    axes.set_yticks(table.index, [said[name] for name in table["cause"]])
    axes.set_ylim(max(len(table), 3) - 0.5, -0.5)
    axes.margins(x=0.5 if narrow() else 0.3)
    axes.set(xlabel="faults", ylabel="")
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.grid(False, axis="y")


def draw_pages(axes: Axes, faults: pd.DataFrame, clock: str) -> None:
    """Draw how many pages had so many faults: a page touched once, again, and again."""
    total = tables.by_page(faults)["total"]
    counts = np.bincount(total)
    shown = np.flatnonzero(counts)
    many = len(shown) > FEW
    if not many:
        axes.vlines(shown, 0, counts[shown], color=GREY, linewidth=1)
    axes.plot(shown, counts[shown], "o", color=BLUE, markersize=2 if many else 4, clip_on=False)
    axes.set(xlabel="faults on the page", ylabel="pages")
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    if shown.max() > FEW:
        axes.set_xscale("log")
        axes.set_xlabel("faults on the page (log scale)")
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


cumulative = _panel("Faults so far", "faults", draw_cumulative)
rate = _panel("Faults per window", "faults", draw_rate)
latency = _panel("Time to the next fault", "share of faults", draw_latency)
first_and_repeat = _panel("First touch or repeat", "", draw_first)
by_cause = _panel("Faults by cause", "", draw_causes)
by_page = _panel("Pages by their number of faults", "pages", draw_pages)

VIEWS: dict[str, tuple[Callable[..., Figure], Callable[..., pd.DataFrame]]] = {
    "address_time": (address_time, lambda faults, clock: faults),
    "cumulative": (cumulative, tables.cumulative),
    "rate": (rate, tables.rate),
    "latency": (latency, lambda faults, clock: tables.gaps(faults)),
    "first_and_repeat": (first_and_repeat, lambda faults, clock: tables.first_and_repeat(faults)),
    "by_cause": (by_cause, lambda faults, clock: tables.by_cause(faults)),
    "by_page": (by_page, lambda faults, clock: tables.by_page(faults)),
}
"""Each view with the table behind it: `table(faults, clock)`."""
