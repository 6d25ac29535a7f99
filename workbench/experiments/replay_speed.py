"""How fast a log is replayed, and what an event costs as the free extents become many."""

import time
from statistics import median
from typing import NamedTuple

import numpy as np
import pandas as pd

from workbench.arena.events import Kind
from workbench.arena.rules import MAX_PAGES
from workbench.models import requests, workloads
from workbench.models.allocators import POLICIES, loop, replay
from workbench.models.allocators.book import open_book
from workbench.plots.figure import BLUE, GREY, ORANGE, Figure, say_empty, styled

EXTENTS = tuple(1 << order for order in range(4, 20))
"""Free ones, as many in use between them: up to 1,048,576 in all, each page of an arena one."""
KERNELS = {"range_tree": (BLUE, "o", "-"), "maple": (ORANGE, "s", "--")}


class Speed(NamedTuple):
    """Millions of events per second for a workload under a policy, metrics sampled 1,000 times."""

    workload: str
    policy: str
    million_per_second: float


def speed(repeats: int = 5, rows: int = 200_000, pages: int = 1 << 16) -> list[Speed]:
    """Replay a random workload under each policy; the median of some repeats."""
    log = workloads.make("exponential", rows, pages, seed=1)
    found = []
    for name in POLICIES:
        replay(log[:100], name, pages)
        samples = []
        for _ in range(repeats):
            began = time.thread_time()
            replay(log, name, pages)
            samples.append(rows / (time.thread_time() - began) / 1e6)
        found.append(Speed("exponential", name, median(samples)))
    return found


def run(repeats: int = 5, rows: int = 100_000, extents: tuple[int, ...] = EXTENTS) -> pd.DataFrame:
    """Time events among more and more free extents: columns policy, extents, repeat, ns, kind.

    An arena is combed so that every second page of its first part is a hole of one page. Half of
    the holes are filled; then, in turn, a random one of those pages is freed and a page allocated.
    """
    found = []
    for repeat in range(-1, repeats):  # the first is for warming up
        for name in KERNELS:
            for holes in extents:
                if repeat >= 0 or holes == extents[0]:
                    ns = _one(name, holes, rows)
                    found += [(name, holes, repeat, ns, "measured")] if repeat >= 0 else []
    return pd.DataFrame(found, columns=["policy", "extents", "repeat", "ns", "kind"])


def _one(name: str, holes: int, rows: int) -> float:
    """ns per event among `holes` free extents."""
    book = open_book(MAX_PAGES, POLICIES[name].code)
    half, frees = holes // 2, rows // 2
    state = loop.Pages(
        np.zeros(MAX_PAGES, np.uint8), np.full(holes + 1 + half + frees, -1, np.int32),
        np.zeros(3, np.int64),
    )  # fmt: skip
    _play(book, state, *_comb(holes))
    blocks = holes + 1 + np.arange(half)
    _play(book, state, np.full(half, int(Kind.ALLOC)), np.ones(half), blocks)
    rng = np.random.default_rng(holes)
    gone = np.empty(frees, np.int64)
    slots, fresh = blocks.copy(), blocks[-1] + 1 + np.arange(frees)
    for turn, slot in enumerate(rng.integers(0, half, frees).tolist()):
        gone[turn], slots[slot] = slots[slot], fresh[turn]
    block = np.column_stack([gone, fresh]).ravel()
    kind = np.tile([int(Kind.FREE), int(Kind.ALLOC)], frees)
    return _play(book, state, kind, np.ones(2 * frees), block) / (2 * frees)


def _comb(holes: int) -> tuple[np.ndarray, ...]:
    """Requests that reserve every second page of the first 2 holes, and all behind them."""
    page = np.append(2 * np.arange(holes) + 1, 2 * holes)
    count = np.append(np.ones(holes), max(0, MAX_PAGES - 2 * holes))
    kept = count > 0
    kind = np.full(len(page), int(Kind.RESERVE))
    return kind[kept], count[kept], np.arange(len(page))[kept], page[kept]


def _play(book, state, kind, count, block, page=None) -> float:  # type: ignore[no-untyped-def]
    """Carry out requests; returns ns of this thread's time."""
    columns = requests.Columns(
        kind.astype(np.uint8),
        np.full(len(kind), -1, np.int32) if page is None else page.astype(np.int32),
        count.astype(np.int64),
        block.astype(np.int32),
        np.zeros(len(kind), np.int32),
    )
    rows = len(kind)
    samples = loop.Samples(
        np.zeros((2, loop.REFUSALS + 1), np.int64), np.zeros(2), np.zeros((2, 1)),
        np.array([8]), np.zeros(loop.RATIO_COUNT + 1),
    )  # fmt: skip
    placed, status = np.empty(rows, np.int32), np.zeros(rows, np.uint8)
    began = time.thread_time_ns()
    loop.run(book, state, columns, samples, rows, placed, status)
    took = time.thread_time_ns() - began
    if status.any():
        raise AssertionError("a request of the scaling experiment found no place")
    return float(took)


def growth(frame: pd.DataFrame) -> pd.DataFrame:
    """Median ns at the fewest and the most extents, their ratio, and the ratio of the logarithms.

    Cost grows no faster than the logarithm of the extents where `ratio` is at most `log_ratio`.
    """
    table = frame.groupby(["policy", "extents"])["ns"].median().unstack()
    few, many = table.columns.min(), table.columns.max()
    return pd.DataFrame({
        "few": table[few], "many": table[many], "ratio": table[many] / table[few],
        "log_ratio": np.log2(many) / np.log2(few),
    })  # fmt: skip


@styled
def plot(frame: pd.DataFrame, label: str = "") -> Figure:
    """Draw ns per event over the number of free extents, with a logarithm for comparison."""
    figure = Figure(figsize=(7.0, 3.2))
    axes = figure.subplots()
    axes.set(xlabel="extents, every second one free (log scale)", ylabel="ns per event")
    axes.set_title("What an event costs among many holes")
    figure.workbench_alt = describe(frame)
    if frame.empty:
        say_empty(axes, "nothing was measured")
        return figure
    table = frame.groupby(["policy", "extents"])["ns"].quantile([0.25, 0.5, 0.75]).unstack()
    for policy, (colour, marker, line) in KERNELS.items():
        own = table.loc[policy]
        at, said = 2 * own.index, policy.replace("_", " ")
        axes.fill_between(at, own[0.25], own[0.75], color=colour, alpha=0.2, linewidth=0)
        axes.plot(at, own[0.5], line, color=colour, marker=marker, label=said)
    first = table[0.5].groupby("extents").max()
    guide = first.iloc[0] * np.log2(first.index) / np.log2(first.index[0])
    axes.plot(2 * first.index, guide, ":", color=GREY, label="a logarithm of the extents")
    axes.set_xscale("log", base=2)
    axes.set_ylim(bottom=0)
    axes.legend()
    if label:
        figure.suptitle(f"measured: {label}", fontsize="medium")
    return figure


def describe(frame: pd.DataFrame) -> str:
    """Say in words how the cost grows."""
    if frame.empty:
        return "Cost of an event by the number of free extents: empty, nothing was measured."
    few, many = 2 * frame["extents"].min(), 2 * frame["extents"].max()
    parts = [
        f"{policy} {row['few']:.0f} ns among {few:,} and {row['many']:.0f} ns among {many:,}"
        for policy, row in growth(frame).iterrows()
    ]
    return f"Median cost of an event by extents, every second one free: {'; '.join(parts)}."
