"""Page faults as pictures: which page was touched when, by whom, and what came of it."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from workbench.plots.figure import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    Figure,
    legend_below,
    page,
    plural,
    say_empty,
    styled,
    time_axis,
)


class Mark(NamedTuple):
    """How one kind of event is drawn: colour and shape both tell it apart."""

    kind: str
    meaning: str
    marker: str
    colour: str
    filled: bool


MARKS = (
    Mark("alloc", "program allocates", "P", GREEN, True),
    Mark("free", "program frees", "_", GREY, True),
    Mark("reserve", "program reserves", "|", BLACK, True),
    Mark("user_fault", "user touch fills the page", "o", BLUE, True),
    Mark("user_minor", "user touch, page exists", "o", SKY, False),
    Mark("segv", "user touch refused (SIGSEGV)", "X", VERMILION, True),
    Mark("absent_read", "program reads absent page: 0", "v", ORANGE, True),
    Mark("dropped_write", "program write lost", "^", PURPLE, True),
)
SPANS = ("alloc", "free", "reserve")  # their `count` is pages; the others touch one page


@styled
def timeline(events: pd.DataFrame, axis: str = "auto") -> Figure:
    """Draw every page event at its time and page, one marker and colour for each cause.

    `events` is an event frame (`arena.events` or `result.events`): `time` (steps), `kind`, `page`
    (relative to the arena's start) and `count`. Other kinds of event are left out. Touches outside
    the arena (page -1, a NULL pointer for example) get a strip of their own below the pages.
    `axis` is "steps", "order" (one place for each event) or "auto": order if most share a step.
    """
    shown = events[events["kind"].isin([mark.kind for mark in MARKS])]
    x, label = time_axis(shown, axis)
    shown = shown.assign(x=x)
    outside = bool((shown["page"] < 0).any())
    figure = Figure(figsize=page(4.2))
    rows = figure.subplots(2, sharex=True, squeeze=False, height_ratios=(9, 1)) if outside else None
    pages = rows[0, 0] if rows is not None else figure.subplots()
    _draw(pages, shown[shown["page"] >= 0])
    lost = events.attrs.get("lost", 0)
    title = f"Page events, without the {lost:,} oldest" if lost else "Page events"
    pages.set(title=title, ylabel="page of the arena")
    if rows is not None:
        _draw_outside(rows[1, 0], shown[shown["page"] < 0])
    bottom = pages if rows is None else rows[1, 0]
    bottom.set_xlabel(label)
    bottom.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if shown.empty:
        say_empty(pages, "no page was allocated, freed or faulted on")
    else:
        _legend(figure, shown)
    figure.workbench_alt = describe(shown)
    return figure


def describe(events: pd.DataFrame) -> str:
    """Say in one sentence what a timeline of these events shows."""
    if events.empty:
        return "Timeline of page events: empty, no page was allocated, freed or faulted on."
    counts = events["kind"].astype(str).value_counts()
    parts = [f"{mark.meaning}, {counts[mark.kind]:,}×" for mark in MARKS if mark.kind in counts]
    inside = events.loc[events["page"] >= 0, "page"]
    first, last = events["time"].min(), events["time"].max()
    when = f", steps {first:,} to {last:,}" if first < last else ""
    where = f", pages {inside.min():,} to {inside.max():,}" if len(inside) else ""
    count = plural(len(events), "page event")
    return f"Timeline of {count}{when}{where}: {'; '.join(parts)}."


def _draw(axes: Axes, events: pd.DataFrame) -> None:
    """Draw the events inside the arena; a span of pages becomes a line from its first to last."""
    for mark in MARKS:
        own = events[events["kind"] == mark.kind]
        if own.empty:
            continue
        time, page = own["x"].to_numpy(np.float64), own["page"].to_numpy(np.float64)
        last = page + own["count"].to_numpy(np.float64).clip(1) - 1 if mark.kind in SPANS else page
        if (last > page).any():
            axes.vlines(time, page, last, color=mark.colour, linewidth=1.6, alpha=0.8)
            time, page = np.concatenate([time, time]), np.concatenate([page, last])
        _scatter(axes, time, page, mark)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if len(events):  # room above and below, also around a single page
        low, high = axes.dataLim.intervaly
        room = max(0.7, 0.05 * (high - low))
        axes.set_ylim(low - room, high + room)


def _draw_outside(axes: Axes, events: pd.DataFrame) -> None:
    """Draw the events outside the arena in one row."""
    for mark in MARKS:
        time = events.loc[events["kind"] == mark.kind, "x"].to_numpy(np.float64)
        if time.size:
            _scatter(axes, time, np.zeros(time.size), mark)
    axes.set(yticks=[0], yticklabels=["outside"], ylim=(-1, 1))
    axes.grid(False)


def _scatter(axes: Axes, x: np.ndarray, y: np.ndarray, mark: Mark) -> None:
    face = mark.colour if mark.filled else "none"
    line = 1.4 if mark.marker in "_|" or not mark.filled else 0.3
    axes.plot(
        x, y, mark.marker, color=mark.colour, markerfacecolor=face, markersize=6,
        markeredgewidth=line, rasterized=len(x) > 2000, clip_on=False,
    )  # fmt: skip


def _legend(figure: Figure, events: pd.DataFrame) -> None:
    """Name the causes that occur, each with how often."""
    counts = events["kind"].astype(str).value_counts()
    for mark in MARKS:
        if mark.kind in counts:
            label = f"{mark.meaning} ({counts[mark.kind]:,})"
            face = mark.colour if mark.filled else "none"
            figure.axes[0].plot(
                [], [], mark.marker, color=mark.colour, markerfacecolor=face, label=label
            )
    legend_below(figure, figure.axes[0])
