"""Fragmentation as pictures: its course over a run, and the holes at one moment."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from workbench.arena.holes import extent_histogram
from workbench.models.fragmentation import external_fragmentation
from workbench.plots.figure import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    VERMILION,
    Figure,
    plural,
    say_empty,
    styled,
    time_axis,
)


@styled
def timeline(history: pd.DataFrame, axis: str = "auto") -> Figure:
    """Draw pages, free extents and fragmentation over time, from `allocators.history`.

    Three panels: live, reserved and free pages with the largest
    free extent; the number of free extents; external fragmentation and the share of free memory
    unusable for k pages. Undefined values are gaps; a refused allocation is a cross.
    `axis` is "steps", "order" (one place for each event) or "auto": order if most share a step.
    """
    figure = Figure(figsize=(7.0, 5.0))
    pages, extents, shares = figure.subplots(3, sharex=True, height_ratios=(3, 2, 3))
    pages.set(title="Pages", ylabel="pages")
    extents.set(title="Free extents", ylabel="extents")
    shares.set(title="Fragmentation (0 is best)", ylabel="share of free pages")
    x, label = time_axis(history, axis)
    shares.set_xlabel(label)
    if history.empty:
        for axes in (pages, extents, shares):
            say_empty(axes, "no events")
    else:
        placed = history.assign(x=x)
        _pages(pages, placed)
        _extents(extents, placed)
        _shares(shares, placed)
    figure.workbench_alt = describe(history)
    return figure


def describe(history: pd.DataFrame) -> str:
    """Say in words where a history of fragmentation ended and what its extremes were."""
    if history.empty:
        return "Fragmentation over time: empty, no events."
    last, refused = history.iloc[-1], int((history["kind"] == "alloc_failed").sum())
    return (
        f"Fragmentation over {plural(len(history) - 1, 'event')}: at most "
        f"{plural(int(history['live_pages'].max()), 'live page')}; at the end "
        f"{plural(int(last['free_pages']), 'free page')} in "
        f"{plural(int(last['extents']), 'extent')}, the largest of "
        f"{plural(int(last['largest_extent']), 'page')}; external fragmentation "
        f"{_value(last['external_fragmentation'])}, unusable for {last['k']} pages "
        f"{_value(last['unusable'])}; {plural(refused, 'refused allocation')}."
    )


@styled
def holes(extents: ArrayLike, page_count: int | None = None) -> Figure:
    """Draw free memory by size of hole and, where positions are given, along the arena.

    `extents` is either lengths (pages) or rows of (first page, length), as `arena.free_extents`;
    with rows, a strip above shows the arena from page 0 to `page_count` (default: to the end of
    the last extent). Bars count free pages in extents of 1, 2-3, 4-7, ... pages; their labels
    count the extents.
    """
    rows = np.asarray(extents, np.int64)
    placed = rows.ndim == 2
    figure = Figure(figsize=(7.0, 3.6 if placed else 2.8))
    if placed:
        strip, bars = figure.subplots(2, height_ratios=(1, 5))
        _strip(strip, rows, page_count)
    else:
        bars = figure.subplots()
    lengths = rows[:, 1] if placed else rows
    _bars(bars, lengths)
    figure.workbench_alt = describe_holes(lengths)
    return figure


def describe_holes(lengths: NDArray[np.int64]) -> str:
    """Say in words how free memory is split into extents."""
    if not lengths.size:
        return "Free extents by size: empty, no page is free."
    small, large = int(lengths.min()), int(lengths.max())
    spread = f", from {small:,} to {plural(large, 'page')}"
    sizes = spread if small < large else f" of {plural(large, 'page')}"
    return (
        f"Free extents by size: {plural(int(lengths.sum()), 'free page')} in "
        f"{plural(lengths.size, 'extent')}{sizes}; "
        f"external fragmentation {_value(external_fragmentation(lengths))}."
    )


def _value(number: float) -> str:
    return "undefined" if np.isnan(number) else f"{number:.2f}"


def _steps(
    axes: Axes,
    history: pd.DataFrame,
    column: str,
    colour: str,
    line: str,
    label: str | None,
    width: float = 1.4,
) -> None:
    """Draw a column as steps: a value holds until the next event."""
    time = history["x"].to_numpy(np.float64)
    values = history[column].to_numpy(np.float64)
    axes.step(time, values, line, where="post", color=colour, label=label, linewidth=width)


def _pages(axes: Axes, history: pd.DataFrame) -> None:
    """Draw live, reserved and free pages and the largest free extent."""
    _steps(axes, history, "live_pages", BLUE, "-", "live")
    _steps(axes, history, "free_pages", GREEN, "--", "free")
    _steps(axes, history, "largest_extent", ORANGE, ":", "largest free extent")
    if history["reserved_pages"].any():
        _steps(axes, history, "reserved_pages", GREY, "-.", "reserved")
    axes.set_ylim(bottom=0)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))


def _extents(axes: Axes, history: pd.DataFrame) -> None:
    """Draw the number of free extents."""
    _steps(axes, history, "extents", BLUE, "-", None)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=4))


def _shares(axes: Axes, history: pd.DataFrame) -> None:
    """Draw the two shares between 0 and 1 and mark the refused allocations."""
    k = int(history["k"].iloc[0])
    _steps(axes, history, "external_fragmentation", PURPLE, "-", "external\nfragmentation", 2.6)
    _steps(axes, history, "unusable", VERMILION, "--", f"unusable for\n{plural(k, 'page')}")
    refused = history.loc[history["kind"] == "alloc_failed"]
    if len(refused):
        height = refused["external_fragmentation"].fillna(0)
        axes.plot(refused["x"], height, "kx", label="allocation refused", clip_on=False)
    axes.set_ylim(-0.03, 1.03)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))


def _strip(axes: Axes, rows: NDArray[np.int64], page_count: int | None) -> None:
    """Draw the arena from left to right: taken pages dark, holes light."""
    end = page_count or (int(rows.sum(axis=1).max()) if len(rows) else 1)
    axes.axhspan(0, 1, color=BLUE, linewidth=0)
    axes.broken_barh(
        [(first, count) for first, count in rows.tolist()], (0, 1), facecolor="white",
        edgecolor=BLUE, linewidth=0.4,
    )  # fmt: skip
    axes.set(xlim=(0, end), ylim=(0, 1), yticks=[], xlabel="page of the arena")
    axes.set_title("The arena: taken pages are dark, free ones white")
    axes.grid(False)
    for side in ("top", "right"):
        axes.spines[side].set_visible(True)


def _bars(axes: Axes, lengths: NDArray[np.int64]) -> None:
    """Draw one bar of free pages for each power of two."""
    table = extent_histogram(lengths)
    names = [
        f"{low:,}" if low == 1 else f"{low:,}–{high:,}"
        for low, high in zip(table["smallest"], table["largest"], strict=True)
    ]
    bars = axes.bar(names, table["pages"], color=GREEN, edgecolor="black", linewidth=0.5)
    axes.bar_label(
        bars, [plural(n, "extent") if n else "" for n in table["extents"]], fontsize="small"
    )
    axes.set(xlabel="pages in the extent", ylabel="free pages")
    axes.set_title(f"Free pages by size of hole: {plural(int(lengths.sum()), 'page')} "
                   f"in {plural(lengths.size, 'extent')}")  # fmt: skip
    axes.margins(y=0.15)
    axes.set_xlim(-0.6, max(len(table), 4) - 0.4)  # one bar alone would fill the figure
    axes.grid(False, axis="x")
    if not lengths.size:
        say_empty(axes, "no page is free")
