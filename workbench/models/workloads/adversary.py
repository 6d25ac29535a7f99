"""Robson's adversary: requests that drive any allocator to its worst, by watching its placements.

It holds at most `live` pages and asks for blocks of 1, 2, 4 ... `largest`. Before each step it
frees every block that does not cover a page of one residue class, so that what remains blocks every
place for the next size. Whatever the policy, the span of pages in use comes to at least

    live (1 + log2(largest) / 2) - largest + 1

Source: J. M. Robson, "An estimate of the store size necessary for dynamic storage allocation"
(JACM 18, 1971); "Bounds for some functions concerning dynamic storage allocation" (JACM 21, 1974).
"""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from workbench.arena.events import Kind
from workbench.errors import WorkbenchError
from workbench.models import requests
from workbench.models.allocators.replay import replay

if TYPE_CHECKING:
    from workbench.models.allocators.replay import Rule


def bound(live: int, largest: int) -> float:
    """Pages of span that Robson's adversary forces on every allocator (see the module)."""
    return live * (1 + np.log2(largest) / 2) - largest + 1


def robson(rule: "Rule", live: int, largest: int, pages: int) -> pd.DataFrame:
    """The log of Robson's adversary against one policy in an arena of `pages` pages.

    `largest` is a power of two. Against another policy the log is an ordinary one. Raises
    WorkbenchError for sizes that cannot be.
    """
    if live < 1 or largest < 1 or largest & (largest - 1):
        raise WorkbenchError(
            f"Robson's adversary holds 1 or more pages, in blocks of up to a power of two; "
            f"not {live} and {largest}"
        )
    log = requests.frame(np.full(live, int(Kind.ALLOC)), np.ones(live), np.arange(live))
    size, residue = 1, 0
    held = pd.DataFrame({"block": np.arange(live), "pages": 1})
    while size < largest:
        size *= 2
        start = _starts(log, rule, pages)[held["block"]]
        residue = max((residue, residue + size // 2), key=lambda r: _worth(held, start, r, size))
        keep = (start >= 0) & _covers(start, held["pages"].to_numpy(), residue, size)
        gone, held = held[~keep], held[keep]
        count = (live - int(held["pages"].sum())) // size
        fresh = int(log["block"].max()) + 1 + np.arange(count)
        log = pd.concat([log, _frees(gone), _allocations(fresh, size)], ignore_index=True)
        held = pd.concat([held, pd.DataFrame({"block": fresh, "pages": size})], ignore_index=True)
    return log.assign(time=np.arange(len(log), dtype=np.uint64))


def _starts(log: pd.DataFrame, rule: "Rule", pages: int) -> np.ndarray:
    """First page of each block so far."""
    asked = (log["kind"] == "alloc").to_numpy()
    timed = log.assign(time=np.arange(len(log), dtype=np.uint64))
    return replay(timed, rule, pages, every=len(log)).page[asked]


def _covers(start: np.ndarray, count: np.ndarray, residue: int, size: int) -> np.ndarray:
    """Which blocks cover a page that leaves `residue` when divided by `size`."""
    return (residue - start) % size < count


def _worth(held: pd.DataFrame, start: np.ndarray, residue: int, size: int) -> int:
    """Pages that the blocks kept for a residue would make useless for the next size."""
    count = held["pages"].to_numpy()
    return int((size - count)[_covers(start, count, residue, size)].sum())


def _frees(gone: pd.DataFrame) -> pd.DataFrame:
    return requests.frame(np.full(len(gone), int(Kind.FREE)), gone["pages"], gone["block"])


def _allocations(blocks: np.ndarray, size: int) -> pd.DataFrame:
    return requests.frame(np.full(len(blocks), int(Kind.ALLOC)), np.full(len(blocks), size), blocks)
