"""Linux 6.12's allocator of arena pages against 6.13's: the same requests under both.

Until 6.12 an arena took the lowest address that fits (a maple tree); since 6.13 it takes the
smallest free range that fits (a range tree). Both are exact models; the second is compared with
Linux page for page by a test.
"""

import numpy as np
import pandas as pd

from workbench.bpf.releases import release
from workbench.models import workloads
from workbench.models.allocators import replay
from workbench.models.allocators.replay import SIZES
from workbench.plots.figure import (
    BLUE,
    GREY,
    ORANGE,
    Figure,
    legend_below,
    narrow,
    page,
    say_empty,
    styled,
)

CHOSEN = ("exponential", "bimodal", "larson", "key_value", "user_faults")
COMPARED = (release("6.12"), release("6.13"))
KERNELS = {row.allocator: f"{row} ({row.allocator.replace('_', ' ')})" for row in COMPARED}
LOOK = {"maple": (ORANGE, "--", "s"), "range_tree": (BLUE, "-", "o")}
LARGE = 16  # pages in a row, for the table: the largest block of `workloads.synthetic.SIZES`


def run(
    names: tuple[str, ...] = CHOSEN, rows: int = 100_000, pages: int = 4096, seeds: int = 5
) -> pd.DataFrame:
    """Replay each workload under both allocators, for some seeds.

    Columns workload, seed, policy, metric, k (0 where it has none), value, kind ("model"). Metrics
    are means over the second half of the run: `unusable` for each k, `extents`, and `refused` in
    all, `blow_up` over the whole run.
    """
    found = []
    for name in names:
        for seed in range(seeds):
            log = workloads.make(name, rows, pages, seed)
            for policy in KERNELS:
                found += [(name, seed, policy, *row) for row in _measures(log, policy, pages)]
    columns = ["workload", "seed", "policy", "metric", "k", "value"]
    return pd.DataFrame(found, columns=columns).assign(kind="model")


def _measures(log: pd.DataFrame, policy: str, pages: int) -> list[tuple[str, int, float]]:
    got = replay(log, policy, pages)
    half = len(got.samples) // 2
    unusable = np.nanmean(got.unusable[half:], axis=0)
    return [
        *(("unusable", k, float(share)) for k, share in zip(SIZES, unusable, strict=True)),
        ("extents", 0, float(got.samples["extents"].iloc[half:].mean())),
        ("refused", 0, float(got.refused)),
        ("blow_up", 0, got.blow_up),
    ]


def findings(frame: pd.DataFrame) -> pd.DataFrame:
    """What changed from 6.12 to 6.13, a row for each workload: means over the seeds.

    Extents and their ratio, unusable for LARGE pages, refusals, blow-up, each before and after.
    """
    kept = frame[(frame["metric"] != "unusable") | (frame["k"] == LARGE)]
    table = kept.pivot_table(index="workload", columns=["metric", "policy"], values="value")
    table = table.reindex(dict.fromkeys(frame["workload"]))
    table[("extents", "ratio")] = table[("extents", "range_tree")] / table[("extents", "maple")]
    return table.sort_index(axis=1)


@styled
def plot(frame: pd.DataFrame) -> Figure:
    """Draw unusable(k) and the number of free extents, side by side for each workload.

    Lines and bars are means over the seeds; bands and whiskers their full range.
    """
    names = list(dict.fromkeys(frame["workload"]))
    grid, figure = _grid(max(1, len(names)))
    for place, name in enumerate(names):
        own = frame[frame["workload"] == name]
        _curves(grid[0, place], own, name)
        _extents(grid[1, place], own)
    middle = len(names) // 2 if narrow() else 0
    grid[0, middle].set_ylabel("unusable for k pages\n(share of free, 0 is best)")
    grid[1, middle].set_ylabel("free extents")
    for axes in grid[0, -1:] if narrow() else grid[0]:
        axes.set_xlabel("k (pages)")
    figure.workbench_alt = describe(frame)
    if not names:
        grid[0, 0].set(title="No workload", xlabel="k (pages)")
        say_empty(grid[0, 0], "nothing was replayed")
        return figure
    legend_below(figure, grid[0, 0])
    figure.suptitle("Same requests, two kernels' allocators (exact models)", fontsize="medium")
    figure.workbench_caption = caption(frame)
    return figure


def _grid(workloads: int) -> tuple[np.ndarray, Figure]:
    """Panels[measure, workload], the workloads below each other where the page is narrow."""
    if narrow():
        figure = Figure(figsize=page(0.9 + 1.1 * workloads))
        grid = figure.subplots(workloads, 2, squeeze=False, sharex="col", width_ratios=(3, 2))
        return grid.T, figure
    figure = Figure(figsize=page(3.6))
    return figure.subplots(2, workloads, squeeze=False, sharey="row", height_ratios=(3, 2)), figure


def _curves(axes, own: pd.DataFrame, name: str) -> None:  # type: ignore[no-untyped-def]
    """Draw unusable(k) under both allocators."""
    curves = own[own["metric"] == "unusable"].groupby(["policy", "k"])["value"]
    table = curves.agg(["min", "mean", "max"])
    for policy, (colour, dashes, marker) in LOOK.items():
        rows = table.loc[policy]
        axes.fill_between(rows.index, rows["min"], rows["max"], color=colour, alpha=0.2, lw=0)
        axes.plot(
            rows.index, rows["mean"], dashes, color=colour, marker=marker, markersize=3,
            label=f"Linux {KERNELS[policy]}",
        )  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.set_xticks([1, 8, 64, 512], ["1", "8", "64", "512"])
    axes.set(title=name.replace("_", " " if narrow() else "\n"), ylim=(-0.03, 1.03))


def _extents(axes, own: pd.DataFrame) -> None:  # type: ignore[no-untyped-def]
    """Draw the mean number of free extents, whiskers from least to most."""
    table = own[own["metric"] == "extents"].groupby("policy")["value"].agg(["min", "mean", "max"])
    for place, (policy, (colour, dashes, _)) in enumerate(LOOK.items()):
        low, mean, high = table.loc[policy]
        axes.bar(
            place, mean, 0.7, color=colour, hatch="//" if dashes == "--" else "",
            edgecolor="black", linewidth=0.5,
        )  # fmt: skip
        axes.vlines(place, low, high, color=GREY, linewidth=1.2)
        axes.annotate(f"{mean:.0f}", (place, high), (0, 2), textcoords="offset points",
                      ha="center", fontsize="small")  # fmt: skip
    axes.set_xticks([0, 1], [row.name for row in COMPARED])
    axes.margins(y=0.2)
    axes.grid(False, axis="x")


def caption(frame: pd.DataFrame) -> str:
    """State the finding."""
    table = findings(frame)
    ratio, unusable = table[("extents", "ratio")], table["unusable"]
    better = int((unusable["range_tree"] < unusable["maple"]).sum())
    worst = table["refused"].sum()
    return (
        f"Best fit leaves fewer and larger holes than lowest-first fit. In {len(table)} workloads "
        f"Linux 6.13's range tree has {ratio.min():.0%} to {ratio.max():.0%} of the free extents "
        f"of 6.12's maple tree, and in {better} of them less free memory is unusable for {LARGE} "
        f"pages. Requests refused in all: {worst['maple']:,.0f} and {worst['range_tree']:,.0f} "
        f"(means over seeds).{_exceptions(frame)}"
    )


def _exceptions(frame: pd.DataFrame) -> str:
    """Name the workloads and sizes for which the newer allocator leaves more unusable."""
    means = frame[frame["metric"] == "unusable"].groupby(["workload", "k", "policy"], sort=False)
    table = means["value"].mean().unstack()
    worse = table[table["range_tree"] > table["maple"] + 0.01].reset_index()
    if worse.empty:
        return ""
    least = worse.groupby("workload", sort=False)["k"].min()
    parts = [f"{name.replace('_', ' ')} from {k} pages" for name, k in least.items()]
    return f" Not so for very large requests: {', '.join(parts)}."


def describe(frame: pd.DataFrame) -> str:
    """Say in words what the figure shows."""
    if frame.empty:
        return "Linux 6.12's allocator against 6.13's: empty, nothing was replayed."
    parts = [
        f"{name}: {row[('extents', 'maple')]:.0f} free extents become "
        f"{row[('extents', 'range_tree')]:.0f}, unusable for {LARGE} pages "
        f"{row[('unusable', 'maple')]:.0%} becomes {row[('unusable', 'range_tree')]:.0%}"
        for name, row in findings(frame).iterrows()
    ]
    return f"Linux 6.12's allocator against 6.13's. {'; '.join(parts)}. {caption(frame)}"
