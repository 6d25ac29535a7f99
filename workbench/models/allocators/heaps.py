"""Allocation inside pages: objects of some bytes under an allocator that a program brings along.

Arenas hand out pages; what a program makes of them decides how full they are. The same log of
objects under three allocators shows internal fragmentation and the occupancy of pages, and the
pages that each asks the arena for, as a log of requests of its own.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from workbench.arena.events import Kind
from workbench.arena.rules import PAGE_SIZE
from workbench.errors import WorkbenchError
from workbench.models import fragmentation
from workbench.models import requests as logs
from workbench.models.allocators import objects
from workbench.models.allocators.book import open_book
from workbench.models.allocators.policies import policy

if TYPE_CHECKING:
    from workbench.models.fragmentation import JohnstoneWilson

HEAPS = {"bump": objects.BUMP, "slab": objects.SLAB, "buddy": objects.HALVES}


@dataclass(frozen=True, eq=False)
class HeapRun:
    """What a log of objects came to under one allocator.

    events: a row for each object made or freed: `time`, `kind`, `address` (bytes from the arena's
    start, -1 refused), `bytes`. samples: after each row, `live_bytes` (asked for), `granted_bytes`
    (what the objects take), `committed_bytes` (pages taken from the arena), `refused` so far.
    page_requests: what it asked the arena for, to be replayed. used: bytes of live objects in each
    page that it holds at the end; `pages` are their numbers.
    """

    heap: str
    events: pd.DataFrame = field(repr=False)
    samples: pd.DataFrame = field(repr=False)
    page_requests: pd.DataFrame = field(repr=False)
    pages: np.ndarray = field(repr=False)
    used: np.ndarray = field(repr=False)

    @property
    def occupancy(self) -> pd.DataFrame:
        """How full its pages are at the end; see fragmentation.occupancy_histogram."""
        return fragmentation.occupancy_histogram(self.used, PAGE_SIZE)

    @property
    def internal_fragmentation(self) -> float:
        """Which share of the bytes of the live objects was not asked for, at the end."""
        last = self.samples.iloc[-1]
        return fragmentation.internal_fragmentation(last["live_bytes"], last["granted_bytes"])

    @property
    def johnstone_wilson(self) -> "JohnstoneWilson":
        """The four measures: bytes asked for against bytes of pages taken from the arena."""
        samples = self.samples
        return fragmentation.johnstone_wilson(samples["live_bytes"], samples["committed_bytes"])

    def __repr__(self) -> str:
        return (
            f"<HeapRun {self.heap}: {len(self.events):,} objects made or freed, "
            f"{len(self.pages):,} pages held at the end>"
        )


def run_heap(
    log: pd.DataFrame, heap: str = "slab", rule: str = "range_tree", pages: int = 1024
) -> HeapRun:
    """Run a log of objects under `heap` (bump, slab or buddy) in an arena of `pages` pages.

    `log` is a log of requests (workbench.models.requests) whose `count` is bytes: allocations
    anywhere and frees of whole objects. `rule` is the arena's own policy. Raises WorkbenchError
    for other logs, unknown names, and arenas of more than 4,096 pages.
    """
    if heap not in HEAPS:
        raise WorkbenchError(f"no allocator '{heap}'; there are {', '.join(HEAPS)}")
    if not 1 <= pages <= objects.MAX_PAGES:
        raise WorkbenchError(f"a heap lies in 1 to {objects.MAX_PAGES:,} pages, not {pages:,}")
    columns = logs.columns(log)
    _whole_objects(log, columns)
    chosen = policy(rule)
    if chosen.choose is not None or chosen.name == "buddy":
        raise WorkbenchError(f"a heap takes its pages by a policy that searches, not {chosen.name}")
    rows = len(columns.kind)
    state = objects.open_heap(int(columns.block.max(initial=-1)) + 1, rows, pages)
    placed, totals = np.full(rows, -1, np.int64), np.zeros((rows, 4), np.int64)
    objects.run(state, open_book(pages, chosen.code), HEAPS[heap], columns, placed, totals)
    requested = _page_requests(log, state)
    held = _held(requested, pages)
    events, samples = _events(log, placed), _samples(log, totals)
    return HeapRun(heap, events, samples, requested, held, state.used[held])


def _whole_objects(log: pd.DataFrame, columns: logs.Columns) -> None:
    """Refuse what is no object: fixed places, user faults, reservations, parts."""
    plain = np.isin(columns.kind, [int(Kind.ALLOC), int(Kind.FREE)]) & (columns.block >= 0)
    born = columns.kind == int(Kind.ALLOC)
    size = np.zeros(int(columns.block.max(initial=-1)) + 1, np.int64)
    size[columns.block[born & plain]] = columns.count[born & plain]
    whole = plain & (columns.page < 0) & (columns.count == size[np.maximum(columns.block, 0)])
    bad = np.flatnonzero(~whole)
    if bad.size:
        raise WorkbenchError(
            f"object log, row {log.index[bad[0]]}: a heap knows alloc anywhere and free of whole "
            "objects only"
        )


def _events(log: pd.DataFrame, placed: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({
        "time": log["time"].to_numpy(), "kind": log["kind"].astype(str).to_numpy(),
        "address": placed, "bytes": log["count"].to_numpy(),
    })  # fmt: skip


def _samples(log: pd.DataFrame, totals: np.ndarray) -> pd.DataFrame:
    live, granted, committed, refused = totals.T
    return pd.DataFrame({
        "time": log["time"].to_numpy(), "live_bytes": live, "granted_bytes": granted,
        "committed_bytes": committed * PAGE_SIZE, "refused": refused,
    })  # fmt: skip


def _page_requests(log: pd.DataFrame, state: objects.Heap) -> pd.DataFrame:
    """What the heap asked the arena for, as a log by block; `address` is what it got."""
    rows = state.log[1 : 1 + state.log[0, 0]]
    source, kind, page, count = rows.T
    gives = kind == int(Kind.ALLOC)
    block = np.cumsum(gives) - 1
    order = np.lexsort([np.arange(len(rows)), page])  # at one page, a free follows its allocation
    frees = np.flatnonzero(~gives[order])
    block[order[frees]] = block[order[frees - 1]]
    times = log["time"].to_numpy()[source] if len(rows) else np.zeros(0, np.uint64)
    table = logs.frame(kind, count, block, time=times)
    return table.assign(address=(page * PAGE_SIZE).astype(np.uint64))


def _held(requested: pd.DataFrame, pages: int) -> np.ndarray:
    """Page numbers held at the end."""
    count = np.zeros(pages + 1, np.int64)
    first = (requested["address"] // PAGE_SIZE).to_numpy(np.int64)
    step = np.where(requested["kind"] == "alloc", 1, -1)
    np.add.at(count, first, step)
    np.add.at(count, first + requested["count"].to_numpy(np.int64), -step)
    return np.flatnonzero(np.cumsum(count[:-1]) > 0)
