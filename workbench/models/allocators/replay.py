"""A log of requests under a policy: where everything came to lie, and how free memory fared."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from workbench.arena.ranges import extents
from workbench.arena.rules import MAX_PAGES
from workbench.arguments import instance, optional, takes, whole
from workbench.models import requests as logs
from workbench.models.allocators import apart, loop
from workbench.models.allocators.book import open_book
from workbench.models.allocators.policies import Policy, policy
from workbench.models.fragmentation import JohnstoneWilson

if TYPE_CHECKING:
    Rule = str | Policy | Callable[..., Any]

SIZES = tuple(1 << order for order in range(10))
"""Requests of 1, 2, 4 ... 512 pages: the k of the unusable(k) curves."""


@dataclass(frozen=True, eq=False)
class Replay:
    """What a log of requests came to under one policy.

    page: first page that each row of the log got, -1 for none: int32[rows].
    status: 0 done, 1 refused, 2 changed nothing: uint8[rows].
    samples: a row for each moment measured; see `replay`.
    unusable: at each sample, share of the free pages unusable for 1, 2, 4 ... 512 pages.
    extents: free extents at the end, int64[n, 2] of (first page, pages).
    """

    policy: Policy
    page_count: int
    k: int
    log: pd.DataFrame = field(repr=False)
    page: np.ndarray = field(repr=False)
    status: np.ndarray = field(repr=False)
    samples: pd.DataFrame = field(repr=False)
    unusable: np.ndarray = field(repr=False)
    extents: np.ndarray = field(repr=False)
    peaks: np.ndarray = field(repr=False)

    @property
    def refused(self) -> int:
        """How many requests found no place."""
        return int((self.status == loop.REFUSED).sum())

    @property
    def events(self) -> pd.DataFrame:
        """The log as an arena would have recorded it: placed, refusals marked, no-ops left out."""
        return logs.as_events(self.log, self.page, self.status)

    @property
    def johnstone_wilson(self) -> JohnstoneWilson:
        """The four measures, with the span of pages in use as the memory that the policy uses."""
        peaks = self.peaks
        with np.errstate(invalid="ignore", divide="ignore"):
            return JohnstoneWilson(
                float(peaks[loop.RATIO_SUM] / peaks[loop.RATIO_COUNT] - 1),
                float(peaks[loop.SPAN_AT_PEAK_LIVE] / peaks[loop.PEAK_LIVE] - 1),
                float(peaks[loop.PEAK_SPAN] / peaks[loop.LIVE_AT_PEAK_SPAN] - 1),
                float(peaks[loop.PEAK_SPAN] / peaks[loop.PEAK_LIVE] - 1),
            )

    @property
    def blow_up(self) -> float:
        """The span that was needed at most, over the pages that were live at most."""
        return 1 + self.johnstone_wilson.peak_to_peak

    def __repr__(self) -> str:
        return (
            f"<Replay of {len(self.log):,} requests under {self.policy.name}: "
            f"{self.refused:,} refused, {len(self.extents):,} free extents at the end>"
        )


@takes(log=instance(pd.DataFrame), pages=whole(1, MAX_PAGES), k=whole(1), every=optional(whole(1)))
def replay(
    log: pd.DataFrame,
    rule: "Rule" = "range_tree",
    pages: int = 1024,
    k: int = 8,
    every: int | None = None,
    fixed: bool = False,
) -> Replay:
    """Replay a log of requests (workbench.models.requests) in an empty arena of `pages` pages.

    `rule` is a name in POLICIES or a function; see `policy`. Measured is the start, every
    `every` rows (default: 1,000 times in all), and the end. Columns of `samples`: `row` (-1 before
    the first), `time`, `live_pages`, `reserved_pages`, `committed_pages` (taken from the arena),
    `free_pages`, `largest_extent`, `extents`, `span_pages` (up to the last page in use), `refused`
    (so far), `external_fragmentation`, `unusable` (for k pages) and `entropy` (bits). With `fixed`,
    the rows lie at the pages where an arena recorded them. Raises WorkbenchError for a log that
    does not hold together, and, with the request, for a function that raises, crashes or returns
    what is no page; Ctrl-C ends one that does not come back.
    """
    chosen = policy(rule)
    columns = logs.placed_columns(log) if fixed else logs.columns(log)
    rows = len(columns.kind)
    every = every or max(1, rows // 1000)
    book = open_book(pages, chosen.code)
    blocks = int(columns.block.max(initial=-1)) + 1
    state = loop.Pages(
        np.zeros(pages, np.uint8), np.full(blocks, -1, np.int32), np.zeros(3, np.int64)
    )
    samples = _room(1 + -(-rows // every), k)
    placed, status = np.full(rows, -1, np.int32), np.zeros(rows, np.uint8)
    if chosen.choose is None:
        loop.run(book, state, columns, samples, every, placed, status)
    else:
        apart.run(chosen, book, state, columns, samples, every, placed, status)
    table, unusable = _table(samples, log, pages, k)
    left = extents(book.ranges)
    return Replay(chosen, pages, k, log, placed, status, table, unusable, left, samples.peaks)


def compare(
    log: pd.DataFrame, rules: "Iterable[Rule]", pages: int = 1024, k: int = 8
) -> dict[str, Replay]:
    """Replay one log under several policies; by the policies' names, in the order given."""
    replays = (replay(log, rule, pages, k) for rule in rules)
    return {found.policy.name: found for found in replays}


def samples(replays: Mapping[str, Replay]) -> pd.DataFrame:
    """The samples of several replays in one tidy frame, with a column `policy`."""
    tables = [found.samples.assign(policy=name) for name, found in replays.items()]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["policy"])


def curves(replays: Mapping[str, Replay]) -> pd.DataFrame:
    """Mean over the run of the share unusable for k pages: columns policy, k, unusable."""
    rows = []
    for name, found in replays.items():
        known = found.unusable[~np.isnan(found.unusable[:, 0])]
        mean = known.mean(axis=0) if len(known) else np.full(len(SIZES), np.nan)
        rows += [(name, k, share) for k, share in zip(SIZES, mean.tolist(), strict=True)]
    return pd.DataFrame(rows, columns=["policy", "k", "unusable"])


def summary(replays: Mapping[str, Replay]) -> pd.DataFrame:
    """One row for each policy: refusals, means over the run, the four measures, blow-up."""
    rows = {
        name: {
            "refused": found.refused,
            "extents": found.samples["extents"].mean(),
            "unusable": found.samples["unusable"].mean(),
            "external_fragmentation": found.samples["external_fragmentation"].mean(),
            **found.johnstone_wilson._asdict(),
            "blow_up": found.blow_up,
        }
        for name, found in replays.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("policy")


def _room(count: int, k: int) -> loop.Samples:
    ks = np.array([*SIZES, k], np.int64)
    return loop.Samples(
        np.zeros((count, loop.REFUSALS + 1), np.int64),
        np.zeros(count),
        np.zeros((count, len(ks))),
        ks,
        np.zeros(loop.RATIO_COUNT + 1),
    )


def _table(
    samples: loop.Samples, log: pd.DataFrame, pages: int, k: int
) -> tuple[pd.DataFrame, np.ndarray]:
    """Samples as a tidy frame, and the shares unusable for each of SIZES."""
    counts = samples.counts
    free = counts[:, loop.FREE_NOW].astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):  # nothing free: NaN
        unusable = 1 - samples.usable / free[:, None]
        external = 1 - counts[:, loop.LARGEST] / free
    rows = counts[:, loop.AFTER]
    time = log["time"].to_numpy(np.uint64) if len(log) else np.zeros(1, np.uint64)
    table = pd.DataFrame({
        "row": rows,
        "time": np.where(rows < 0, np.uint64(0), time[np.maximum(rows, 0)]),
        "live_pages": counts[:, loop.LIVE_PAGES],
        "reserved_pages": counts[:, loop.RESERVED_PAGES],
        "committed_pages": pages - counts[:, loop.FREE_NOW] - counts[:, loop.RESERVED_PAGES],
        "free_pages": counts[:, loop.FREE_NOW],
        "largest_extent": counts[:, loop.LARGEST],
        "extents": counts[:, loop.EXTENTS],
        "span_pages": counts[:, loop.SPAN],
        "refused": counts[:, loop.REFUSALS],
        "external_fragmentation": external,
        "unusable": unusable[:, -1],
        "entropy": samples.entropy,
        "k": k,
    })  # fmt: skip
    return table, unusable[:, :-1]
