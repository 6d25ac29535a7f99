"""Allocation policies side by side: memory over time, unusable(k), the arena page by page."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.ticker import EngFormatter, MaxNLocator

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
    legend_beside,
    page,
    plural,
    say_empty,
    styled,
)


class Line(NamedTuple):
    """How a policy's curve is drawn: colour, dashes and marker all tell it apart."""

    colour: str
    dashes: str
    marker: str


LINES = {
    "range_tree": Line(BLUE, "-", "o"),
    "maple": Line(ORANGE, "--", "s"),
    "first_fit": Line(ORANGE, "--", "s"),
    "next_fit": Line(PURPLE, "-.", "^"),
    "best_fit": Line(SKY, ":", "v"),
    "worst_fit": Line(VERMILION, (0, (5, 1, 1, 1, 1, 1)), "D"),  # type: ignore[arg-type]
    "buddy": Line(GREEN, (0, (3, 2)), "P"),  # type: ignore[arg-type]
}
OTHER = Line(BLACK, "-", "x")
STRETCHES = 60  # points of a curve: as many as a panel of a narrow page shows apart
MEANINGS = {
    "unusable": "share of free pages unusable for {k} pages",
    "external_fragmentation": "share of free pages outside the largest extent",
    "extents": "free extents",
    "span_pages": "pages up to the last one in use",
    "refused": "requests refused so far",
    "entropy": "entropy of the free extents (bits)",
    "free_pages": "free pages",
    "largest_extent": "largest free extent (pages)",
}


@styled
def small_multiples(samples: pd.DataFrame, column: str = "unusable") -> Figure:
    """Draw one measure over the run, a panel for each policy, the others in grey behind it.

    `samples` is `allocators.samples(replays)`: the samples of each replay with a column `policy`.
    `column` is one of MEANINGS. More than STRETCHES samples are drawn as means of that many parts.
    """
    curves = {str(name): _stretches(own["row"].to_numpy(), own[column].to_numpy())
              for name, own in samples.groupby("policy", sort=False)}  # fmt: skip
    names = list(curves)
    across = min(3, max(1, len(names)))
    down = max(1, -(-len(names) // across))
    figure = Figure(figsize=(7.0, 1.1 + 1.45 * down))
    grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    for axes, name in zip(grid.flat, names, strict=False):
        for other in names:
            line = LINES.get(other, OTHER)
            front = other == name
            axes.plot(
                *curves[other], "-", color=line.colour if front else "#C8C8C8",
                linewidth=1.3 if front else 0.6, zorder=3 if front else 1,
            )  # fmt: skip
        axes.set_title(name.replace("_", " "))
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.xaxis.set_major_locator(MaxNLocator(3))
        axes.set_ylim(bottom=0)
    for axes in list(grid.flat)[len(names) :]:
        axes.set_visible(False)
    if not names:
        grid[0, 0].set_visible(True)
        grid[0, 0].set_title("Policies")
        say_empty(grid[0, 0], "no replays")
    for axes in grid[-1]:
        axes.set_xlabel("requests")
    meaning = MEANINGS[column].format(k=samples["k"].iloc[0] if len(samples) else "k")
    figure.suptitle(f"Over the run: {meaning}", fontsize="medium")
    figure.workbench_alt = describe(samples, column)
    return figure


def _stretches(row: np.ndarray, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A curve as at most STRETCHES points: end and mean of each; undefined where all of it is."""
    parts = np.array_split(np.arange(len(row)), min(len(row), STRETCHES))
    means = [value[part][~np.isnan(value[part])] for part in parts]
    return (
        np.array([row[part[-1]] + 1 for part in parts]),
        np.array([mean.mean() if mean.size else np.nan for mean in means]),
    )


def describe(samples: pd.DataFrame, column: str) -> str:
    """Say in words how a measure came out under each policy."""
    meaning = MEANINGS[column].format(k=samples["k"].iloc[0] if len(samples) else "k")
    if samples.empty:
        return f"{meaning}, by policy: empty, no replays."
    means = samples.groupby("policy", sort=False)[column].mean()
    parts = [f"{name} {value:.3g}" for name, value in means.items()]
    return f"Mean over the run of the {meaning}: {', '.join(parts)}."


@styled
def address_time(live: np.ndarray, page_count: int, events: int) -> Figure:
    """Draw which pages were live when: pages upwards, events to the right, dark is live.

    `live` is `allocators.live_map(...)`: shares of live pages, a row for each band of pages.
    """
    figure = Figure(figsize=(7.0, 3.4))
    axes = figure.subplots()
    axes.set_title("The arena over time: dark pages are live")
    axes.set(xlabel="events in their order", ylabel="page of the arena")
    axes.grid(False)
    figure.workbench_alt = describe_map(live, page_count, events)
    if not events:
        say_empty(axes, "no events")
        return figure
    image = axes.imshow(
        live, cmap="Blues", vmin=0, vmax=1, origin="lower", aspect="auto",
        interpolation="nearest", extent=(0, events, 0, page_count),
    )  # fmt: skip
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    figure.colorbar(image, label="share of live pages", pad=0.01)
    return figure


def describe_map(live: np.ndarray, page_count: int, events: int) -> str:
    """Say in words how full the arena was, and how far up."""
    if not events:
        return "The arena by address and time: empty, no events."
    highest = int((live.max(axis=1) > 0).nonzero()[0].max(initial=-1) + 1) / len(live)
    return (
        f"The arena of {plural(page_count, 'page')} by address and time, {plural(events, 'event')}:"
        f" at the end {live[:, -1].mean():.0%} of it live, at most {live.mean(axis=0).max():.0%}; "
        f"used up to page {highest * page_count:,.0f}."
    )


@styled
def memory(samples: pd.DataFrame) -> Figure:
    """Draw pages over a run: live ones, those taken from the arena, and the span up to the last.

    `samples` is `Replay.samples`. The gap between live and committed is what the policy adds.
    """
    figure = Figure(figsize=page(2.6))
    axes = figure.subplots()
    axes.set(title="Pages over the run", xlabel="requests", ylabel="pages")
    row = samples["row"] + 1
    axes.fill_between(row, samples["live_pages"], color=BLUE, alpha=0.35, linewidth=0, step="post")
    for column, colour, dashes, label in (
        ("live_pages", BLUE, "-", "live"),
        ("committed_pages", VERMILION, ":", "committed"),
        ("span_pages", GREY, "--", "span in use"),
    ):
        axes.step(row, samples[column], dashes, where="post", color=colour, label=label)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    if len(samples) < 2:
        say_empty(axes, "no requests")
    legend_beside(figure, axes)
    peak = int(samples["live_pages"].max()) if len(samples) else 0
    figure.workbench_alt = (
        f"Pages over {plural(max(len(samples) - 1, 0), 'sample')}: at most "
        f"{plural(peak, 'live page')}."
        if len(samples) > 1
        else "Pages over the run: empty, no requests."
    )
    return figure


@styled
def overview(samples: pd.DataFrame) -> Figure:
    """Draw one replay: pages, the share unusable for k pages, and free extents, one time axis.

    `samples` is `Replay.samples`.
    """
    figure = Figure(figsize=page(4.0))
    top, middle, bottom = figure.subplots(3, sharex=True, height_ratios=(3, 2, 2))
    row, k = samples["row"] + 1, samples["k"].iloc[0] if len(samples) else "k"
    for column, colour, dashes, label in (
        ("live_pages", BLUE, "-", "live"), ("committed_pages", VERMILION, ":", "committed"),
        ("span_pages", GREY, "--", "span in use"),
    ):  # fmt: skip
        top.plot(row, samples[column], dashes, color=colour, label=label, linewidth=1.1)
    middle.plot(row, samples["unusable"], color=VERMILION, linewidth=1.1)
    bottom.plot(row, samples["extents"], color=GREEN, linewidth=1.1)
    top.set(title="Pages", ylim=(0, None))
    middle.set(title=f"Share of free pages unusable for {k} pages", ylim=(-0.03, 1.03))
    bottom.set(title="Free extents", xlabel="requests", ylim=(0, None))
    bottom.xaxis.set_major_formatter(EngFormatter(sep=""))
    if len(samples) < 2:
        say_empty(top, "no requests")
    legend_beside(figure, top)
    figure.workbench_alt = (
        f"One replay: {describe(samples.assign(policy='this policy'), 'unusable')}"
        if len(samples) > 1
        else "One replay: empty, no requests."
    )
    return figure


@styled
def occupancy(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw how full pages are, a panel for each allocator inside pages.

    `tables` has an occupancy_histogram for each name, such as `HeapRun.occupancy`.
    """
    figure = Figure(figsize=page(2.2))
    panels = figure.subplots(1, max(1, len(tables)), sharey=True, squeeze=False)[0]
    for axes, (name, table) in zip(panels, tables.items(), strict=False):
        axes.bar(range(12), table["pages"], color=GREEN, edgecolor="black", linewidth=0.5)
        axes.set(title=f"{name}: {plural(int(table['pages'].sum()), 'page')}")
        axes.set_xticks([0, 5.5, 11], ["none", "50", "all"])
        axes.set_xticks(np.arange(1.5, 10), minor=True)
        axes.grid(False, axis="x")
    panels[0].set_ylabel("pages")
    panels[len(panels) // 2].set_xlabel("bytes in use (% of the page)")
    if not tables:
        panels[0].set(title="Occupancy of pages")
        say_empty(panels[0], "no pages")
    parts = [
        f"{name}: {int(table['pages'].sum()):,} pages, "
        f"{int(table['pages'][table['most'] <= 0.5].sum()):,} of them at most half full"
        for name, table in tables.items()
    ]
    figure.workbench_alt = f"Pages by bytes in use. {'; '.join(parts) or 'Empty, no pages'}."
    return figure
