"""One log of requests under the emulated range tree and on a real arena: where everything lies.

Row by row the real arena is asked for the same pages. Where they came to lie is compared with the
replay, and the free extents that the kernel's own range tree holds give its fragmentation curves.
"""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from workbench.arena.rules import PAGE_SIZE
from workbench.engines.kernel import KernelArena
from workbench.models import fragmentation, workloads
from workbench.models.allocators import replay
from workbench.plots.figure import BLUE, ORANGE, Figure, legend_below, page, say_empty, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAME = "kernel_replay"
CHOSEN = ("exponential", "user_faults", "fixed_addresses")
ROWS, PAGES, SAMPLES, K = 100_000, 2048, 100, 8
CURVES = ("live_pages", "free_pages", "largest_extent", "extents", "external_fragmentation",
          "unusable", "entropy")  # fmt: skip
DRAWN = {"unusable": f"unusable for {K} pages", "extents": "free extents"}


class OnLinux:
    """Requests carried out on a real arena, block by block."""

    def __init__(self, arena: KernelArena) -> None:
        self._arena = arena
        self._start: dict[int, int] = {}
        self.there = np.zeros(arena.page_count, bool)

    def request(self, kind: str, page: int, count: int, block: int, offset: int) -> int:
        """Do one request; returns the page it got, or -1 if it was refused or changed nothing."""
        arena, base = self._arena, self._arena.user_start
        if kind == "free":
            if block not in self._start:
                return -1
            page = self._start[block] + offset
            arena.free(base + page * PAGE_SIZE, count)
        elif kind == "user_fault":
            arena.user.store(base + page * PAGE_SIZE, "u8", 1)
            if self.there[page]:
                return -1
        else:
            address = arena.alloc(count, base + page * PAGE_SIZE if page >= 0 else 0)
            if not address:
                return -1
            page = (address - base) // PAGE_SIZE
        self.there[page : page + count] = kind != "free"
        self._start.setdefault(block, page)
        return page

    def sample(self) -> dict[str, float]:
        """CURVES as the kernel's own free ranges give them."""
        lengths = self._arena.free_extents[:, 1]
        return {
            "live_pages": int(self.there.sum()),
            "free_pages": int(lengths.sum()),
            "largest_extent": int(lengths.max(initial=0)),
            "extents": len(lengths),
            "external_fragmentation": fragmentation.external_fragmentation(lengths),
            "unusable": fragmentation.unusable_index(lengths, K),
            "entropy": fragmentation.entropy(lengths),
        }


def run(
    names: tuple[str, ...] = CHOSEN, rows: int = ROWS, pages: int = PAGES, seed: int = 20
) -> pd.DataFrame:
    """Do every workload on both: columns workload, source, row, CURVES, elsewhere, kind.

    A row for each of SAMPLES moments; `elsewhere` counts the requests so far that came to lie on
    other pages on Linux. Raises KernelError where there are no arenas.
    """
    parts = [part for name in names for part in one(name, rows, pages, seed)]
    return pd.concat(parts, ignore_index=True)


def one(name: str, rows: int, pages: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One workload: what the replay says, and what Linux does."""
    log = workloads.make(name, rows, pages, seed)
    every = max(1, rows // SAMPLES)
    found = replay(log, "range_tree", pages, K, every)
    wanted = np.where(found.status == 0, found.page, -1).tolist()
    columns = [log[column].tolist() for column in ("kind", "page", "count", "block", "offset")]
    samples, elsewhere = [], 0
    with KernelArena(pages) as arena:
        linux = OnLinux(arena)
        for row, request in enumerate(zip(*columns, strict=True)):
            elsewhere += linux.request(*request) != wanted[row]
            if (row + 1) % every == 0 or row + 1 == rows:
                samples.append({"row": row, **linux.sample(), "elsewhere": elsewhere})
    model = found.samples.loc[found.samples["row"] >= 0, ["row", *CURVES]]
    about = {"workload": name, "requests": rows}
    return (
        model.assign(source="emulated", elsewhere=0, kind="model", **about),
        pd.DataFrame(samples).assign(source="kernel", kind="measured", **about),
    )


def differences(frame: pd.DataFrame) -> pd.DataFrame:
    """What differs, a row for each workload: requests, placed elsewhere, largest gap of a curve."""
    rows = []
    for name, own in frame.groupby("workload", sort=False):
        model, real = (
            own[own["source"] == source].set_index("row")[list(CURVES)].astype(float)
            for source in ("emulated", "kernel")
        )
        lacking = model.isna() != real.isna()  # undefined on one side only
        gap = (model - real).abs().fillna(0).to_numpy().max(initial=0.0)
        gap = np.inf if lacking.to_numpy().any() else gap
        rows.append((name, int(own["requests"].iloc[0]), int(own["elsewhere"].max()), float(gap)))
    return pd.DataFrame(rows, columns=["workload", "requests", "elsewhere", "largest_gap"])


def same(frame: pd.DataFrame) -> bool:
    """Whether every request lies on the same pages, and every curve agrees to rounding."""
    table = differences(frame)
    return bool((table["elsewhere"] == 0).all() and (table["largest_gap"] < 1e-9).all())


@styled
def plot(frame: pd.DataFrame, label: str = "") -> Figure:
    """Draw two curves of both over each workload: the real one as dots on the emulated line."""
    names = list(dict.fromkeys(frame["workload"]))
    figure = Figure(figsize=page(3.4))
    grid = figure.subplots(2, max(1, len(names)), sharex="col", sharey="row", squeeze=False)
    for place, name in enumerate(names):
        own = frame[frame["workload"] == name]
        for axes, curve in zip(grid[:, place], DRAWN, strict=True):
            _both(axes, own, curve)
        grid[0, place].set_title(name.replace("_", "\n"))
        grid[1, place].set_xlabel("requests")
    for axes, said in zip(grid[:, 0], DRAWN.values(), strict=True):
        axes.set_ylabel(said.replace(" for", "\nfor"))
        axes.set_ylim(bottom=0)
    figure.workbench_alt = describe(frame)
    if not names:
        grid[0, 0].set(title="No workload")
        grid[1, 0].set_xlabel("requests")
        say_empty(grid[0, 0], "nothing was replayed")
        return figure
    legend_below(figure, grid[0, 0])
    if label:
        figure.suptitle(label, fontsize="medium")
    figure.workbench_caption = caption(frame)
    return figure


def _both(axes: "Axes", own: pd.DataFrame, curve: str) -> None:
    """Draw one curve of one workload, emulated and real."""
    model, real = (own[own["source"] == source] for source in ("emulated", "kernel"))
    axes.plot(model["row"] + 1, model[curve], "-", color=ORANGE, label="emulated range tree")
    axes.plot(real["row"] + 1, real[curve], ".", color=BLUE, markersize=3, label="Linux")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value / 1000:g}k")
    axes.locator_params(axis="x", nbins=3)


def caption(frame: pd.DataFrame) -> str:
    """State the finding."""
    table = differences(frame)
    count, away = table["requests"].sum(), table["elsewhere"].sum()
    curves = "agree at every sample" if same(frame) else "do not agree"
    return (
        f"{count - away:,} of {count:,} requests in {len(table)} workloads came to lie on the same "
        f"pages on Linux and emulated; the fragmentation curves {curves}."
    )


def describe(frame: pd.DataFrame) -> str:
    """Say in words what the figure shows."""
    if frame.empty:
        return "A log of requests on Linux and emulated: empty, nothing was replayed."
    return f"Free memory over {len(frame) // 2} samples, on Linux and emulated. {caption(frame)}"
