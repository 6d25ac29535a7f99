"""How badly free memory is broken up: three metrics, a histogram, and their course over a run.

Every metric takes the lengths, in pages, of the free extents: maximal runs of neighbouring free
pages, as an arena's range allocator keeps them (`arena.free_extents[:, 1]`). Where a metric says
nothing the answer is NaN, never 0, so that a plot shows a gap instead of good news.

Symbols: F free pages in all, F_i pages of extent i, B number of extents, k pages requested.
"""

from bisect import bisect_left, bisect_right
from collections import Counter
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from workbench.errors import WorkbenchError

REPLAYED = ("alloc", "alloc_failed", "free", "reserve", "user_fault")
_FREE, _LIVE, _RESERVED = 0, 1, 2


def external_fragmentation(extents: ArrayLike) -> float:
    """Tell which share of the free memory lies outside the largest free extent.

    Formula `1 - max(F_i) / F`. Range [0, 1): 0 is one single hole, towards 1 is dust.
    NaN when nothing is free. Source: the textbook definition.

    Misleads when the requests are small: 100 holes of 64 pages score 0.99, yet every request of
    up to 64 pages succeeds. It also falls when the *small* holes are used up, although no larger
    request has become possible. Read it together with `unusable_index`.
    """
    lengths = _lengths(extents)
    free = int(lengths.sum())
    return 1.0 - int(lengths.max()) / free if free else float("nan")


def unusable_index(extents: ArrayLike, k: int) -> float:
    """Tell which share of the free memory is no use for a request of k neighbouring pages.

    Formula `(F - sum of the F_i with F_i >= k) / F`. Range [0, 1]: 0 all of it can serve, 1 none.
    NaN when nothing is free. Source: Gorman's index, in the form for ranges; Linux's
    `unusable_index` counts aligned power-of-two blocks instead, and so is never smaller.

    Misleads when k is not the size that is really requested (a number without its k says
    nothing), and near the end: a nearly full arena with one good hole scores 0.
    """
    _check_request(k)
    lengths = _lengths(extents)
    free = int(lengths.sum())
    return (free - int(lengths[lengths >= k].sum())) / free if free else float("nan")


def fragmentation_index(extents: ArrayLike, k: int) -> float:
    """Tell why a request of k pages fails: towards 0 memory is short, towards 1 it is broken up.

    Formula `1 - (1 + F / k) / B`, the kernel's `extfrag_index` with extents in place of buddy
    blocks. Range (-1/B, 1 - 1/B): values just below 0 (one or two small holes) read like 0.
    NaN when the request would succeed (Linux prints -1) or nothing is free.

    Misleads when few extents are left: with B holes it cannot exceed 1 - 1/B, so 0.5 is the
    worst that two holes can show. It judges one size; another k has another answer.
    Source: `__fragmentation_index` in mm/vmstat.c.
    """
    _check_request(k)
    lengths = _lengths(extents)
    if not lengths.size or lengths.max() >= k:
        return float("nan")
    return 1.0 - (1.0 + int(lengths.sum()) / k) / lengths.size


def extent_histogram(extents: ArrayLike) -> pd.DataFrame:
    """Count the free extents by size, in bins of powers of two, as e2freefrag does for disks.

    One row per bin from 1 page up to the largest extent: `smallest`, `largest` (pages, both
    included), `extents`, `pages`, and `share` of all free pages. No extents, no rows.
    """
    lengths = _lengths(extents)
    order = np.frexp(lengths.astype(np.float64))[1] - 1  # exact floor(log2) below 2^53
    bins = int(order.max()) + 1 if lengths.size else 0
    pages = np.bincount(order, weights=lengths, minlength=bins).astype(np.int64)
    smallest = np.int64(1) << np.arange(bins, dtype=np.int64)
    return pd.DataFrame(
        {
            "smallest": smallest,
            "largest": 2 * smallest - 1,
            "extents": np.bincount(order, minlength=bins),
            "pages": pages,
            "share": pages / max(int(lengths.sum()), 1),
        }
    )


def history(events: pd.DataFrame, page_count: int, k: int = 8) -> pd.DataFrame:
    """Replay an arena's event log and measure its free memory after every event.

    `events` is the log of an arena of `page_count` pages from its creation on (`arena.events`);
    only allocations (also refused ones), frees, reservations and user faults count. The first
    row is the empty arena. Columns: `time` (steps), `kind`, `pages` (of the event),
    `live_pages`, `reserved_pages`, `free_pages`, `largest_extent` (pages), `extents`,
    `external_fragmentation`, `unusable` for requests of `k` pages, `fragmentation_index`
    (k = the pages asked for; only on rows of refused allocations) and `k`.

    Live are the pages that have memory behind them: allocated by the program or faulted in by
    the user. Raises WorkbenchError, with the row, for a log that contradicts itself.
    """
    _check_request(k)
    log = _relevant(events)
    replay = Replay(page_count, k)
    rows = [_Row(0, "start", 0, *replay.measure(0))]
    for row, time, kind, page, count in zip(
        log.index, log["time"], log["kind"], log["page"], log["count"], strict=True
    ):
        try:
            replay.apply(kind, int(page), int(count))
        except ValueError as error:
            raise WorkbenchError(f"event log, row {row}: {error}") from None
        requested = int(count) if kind == "alloc_failed" else 0
        rows.append(_Row(int(time), kind, int(count), *replay.measure(requested)))
    return pd.DataFrame(rows, columns=list(_Row._fields)).assign(k=k)


class _Row(NamedTuple):
    """One row of a history; see `history` for the meaning of the fields."""

    time: int
    kind: str
    pages: int
    live_pages: int
    reserved_pages: int
    free_pages: int
    largest_extent: int
    extents: int
    external_fragmentation: float
    unusable: float
    fragmentation_index: float


class Replay:
    """The pages of an arena, followed through its event log.

    The free extents are kept as a sorted list of first pages and a count of extents by length,
    so that an event costs time logarithmic in the number of extents, apart from a list shift.
    """

    def __init__(self, page_count: int, k: int) -> None:
        if page_count < 1:
            raise WorkbenchError(f"an arena has at least 1 page, not {page_count}")
        self.page_count = page_count
        self.k = k
        self.state = np.zeros(page_count, np.uint8)
        self.live = self.reserved = self.free = self.usable = 0
        self.starts: list[int] = []
        self.length: dict[int, int] = {}
        self.by_length: Counter[int] = Counter()
        self._insert(0, page_count)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Return the lengths of the free extents in address order."""
        return np.array([self.length[start] for start in self.starts], np.int64)

    def apply(self, kind: str, page: int, count: int) -> None:
        """Change the pages as one event did; ValueError if it cannot have happened."""
        if kind == "alloc_failed":
            return
        first, end = max(page, 0), min(page + count, self.page_count)
        if first >= end:  # a page outside the arena's own pages does not touch the free ones
            return
        before = self.state[first:end]
        if kind in ("alloc", "reserve") and before.any():
            taken = first + int(np.flatnonzero(before)[0])
            raise ValueError(f"{kind} of page {taken}, which is not free; is the log complete?")
        if kind == "user_fault" and (before == _LIVE).any():
            raise ValueError(f"user fault on page {page}, which has memory already")
        self._settle(first, end, {"free": _FREE, "reserve": _RESERVED}.get(kind, _LIVE))

    def measure(self, requested: int) -> tuple[int, int, int, int, int, float, float, float]:
        """Return the measured fields of a history row; `requested` pages just failed (0: no)."""
        nan = float("nan")
        largest = max(self.by_length, default=0)
        external = 1 - largest / self.free if self.free else nan
        unusable = 1 - self.usable / self.free if self.free else nan
        index = fragmentation_index(self.lengths, requested) if requested else nan
        extents = len(self.starts)
        counts = (self.live, self.reserved, self.free, largest, extents)
        return (*counts, external, unusable, index)

    def _settle(self, first: int, end: int, state: int) -> None:
        """Give the pages [first, end) a new state, and the free extents their new shape."""
        span = self.state[first:end]
        self.live += (end - first) * (state == _LIVE) - int((span == _LIVE).sum())
        self.reserved += (end - first) * (state == _RESERVED) - int((span == _RESERVED).sum())
        self.state[first:end] = state
        left, right = self._carve(first, end, touching=state == _FREE)
        if state == _FREE:
            self._insert(left, right)
        else:
            self._insert(left, first)
            self._insert(end, right)

    def _carve(self, first: int, end: int, touching: bool) -> tuple[int, int]:
        """Take out all extents that overlap (or touch) [first, end); return their hull with it."""
        low = max(bisect_right(self.starts, first) - 1, 0)
        high = (bisect_right if touching else bisect_left)(self.starts, end)
        if low < high and self.starts[low] + self.length[self.starts[low]] < first + (not touching):
            low += 1
        removed = self.starts[low:high]
        del self.starts[low:high]
        ends = [start + self._forget(start) for start in removed]
        return min([first, *removed]), max([end, *ends])

    def _forget(self, start: int) -> int:
        """Drop the extent at `start` from the counts and return its length."""
        length = self.length.pop(start)
        self.by_length[length] -= 1
        if not self.by_length[length]:
            del self.by_length[length]
        self.free -= length
        self.usable -= length * (length >= self.k)
        return length

    def _insert(self, start: int, end: int) -> None:
        """Add the extent [start, end) unless it is empty."""
        length = end - start
        if length <= 0:
            return
        self.starts.insert(bisect_left(self.starts, start), start)
        self.length[start] = length
        self.by_length[length] += 1
        self.free += length
        self.usable += length * (length >= self.k)


def _relevant(events: pd.DataFrame) -> pd.DataFrame:
    """Select the events that change free memory; WorkbenchError for a frame that is no log."""
    missing = {"time", "kind", "page", "count"} - set(events.columns)
    if missing:
        raise WorkbenchError(f"the event log lacks the column(s) {', '.join(sorted(missing))}")
    log = events[events["kind"].isin(REPLAYED)]
    time = log["time"].to_numpy().astype(np.int64)
    back = np.flatnonzero(np.diff(time) < 0)
    if back.size:
        raise WorkbenchError(f"event log, row {log.index[back[0] + 1]}: time runs backwards")
    return log


def _lengths(extents: ArrayLike) -> NDArray[np.int64]:
    """Return extent lengths as int64[n]; ValueError unless they are one row of positive numbers."""
    lengths = np.asarray(extents)
    if lengths.ndim != 1:
        raise ValueError(f"extent lengths form one row, not shape {lengths.shape}; pass [:, 1]?")
    if lengths.size and lengths.min() <= 0:
        raise ValueError(f"extents have at least 1 page, not {lengths.min()}")
    return lengths.astype(np.int64)


def _check_request(k: int) -> None:
    if k < 1:
        raise ValueError(f"a request is for at least 1 page, not {k}")
