"""Free pages under any placement policy: the kernel's ranges, plus the index that a policy needs.

The ranges of arena.ranges are always kept, and every metric reads them. A policy that searches in
another order has an index beside them, brought up to date around each change: the extents that
touch the changed pages go out of the index, the ranges change, and those there now go in.
"""

from typing import NamedTuple

import numpy as np

from workbench.arena.ranges import (
    CAPACITY,
    FREE_PAGES,
    LENGTH,
    ROW,
    SIZES,
    STARTS,
    WORDS,
    find,
    free_ranges,
    give,
    is_free,
    last_set,
    next_set,
    take,
)
from workbench.compiled.njit import njit
from workbench.models.allocators import buddy, by_size, lowest

RANGE_TREE, FIRST, NEXT, BEST, WORST, BUDDY, CHOSEN = range(7)


class Book(NamedTuple):
    """The free pages of an arena of pages[0] pages under policy[0].

    ranges: see arena.ranges. tree: allocators.lowest. heap: allocators.by_size. blocks:
    allocators.buddy. rover[0]: where a next fit goes on searching. Indexes that the policy does
    not use are empty.
    """

    ranges: np.ndarray
    tree: np.ndarray
    heap: np.ndarray
    blocks: np.ndarray
    rover: np.ndarray
    policy: np.ndarray
    pages: np.ndarray


def open_book(pages: int, policy: int) -> Book:
    """All of `pages` pages free, indexed for a policy (RANGE_TREE .. CHOSEN)."""
    by_address = lowest.size_for(pages) if policy in (FIRST, NEXT) else 2
    heap_length = pages if policy in (BEST, WORST) else 1
    blocks = buddy.ORDERS * WORDS if policy == BUDDY else WORDS
    book = Book(
        free_ranges(pages),
        np.zeros(by_address, np.int32),
        np.zeros((4, heap_length), np.int32),
        np.zeros(blocks, np.int64),
        np.zeros(1, np.int64),
        np.array([policy]),
        np.array([pages]),
    )
    _enter(book, 0, pages)
    if policy == BUDDY:
        buddy.give(book.blocks, 0, pages)
    return book


@njit
def _enter(book, start, end):
    """Index the extents that touch the pages [start, end)."""
    ranges, policy = book.ranges, book.policy[0]
    at = _first_touching(ranges, start)
    while 0 <= at <= end:
        if policy in (FIRST, NEXT):
            lowest.assign(book.tree, at, ranges[LENGTH + ROW * at])
        elif policy in (BEST, WORST):
            by_size.add(book.heap, at, ranges[LENGTH + ROW * at])
        at = next_set(ranges, STARTS, at + 1) if at + 1 < CAPACITY else np.int64(-1)


@njit
def _leave(book, start, end):
    """Take the extents that touch the pages [start, end) out of the index; returns their hull."""
    ranges, policy = book.ranges, book.policy[0]
    at = _first_touching(ranges, start)
    low, high = start, end
    while 0 <= at <= end:
        stop = at + ranges[LENGTH + ROW * at]
        low, high = min(low, at), max(high, stop)
        if policy in (FIRST, NEXT):
            lowest.assign(book.tree, at, 0)
        elif policy in (BEST, WORST):
            by_size.discard(book.heap, at, stop - at)
        at = next_set(ranges, STARTS, at + 1) if at + 1 < CAPACITY else np.int64(-1)
    return low, high


@njit(inline=True)
def _first_touching(ranges, start):
    """First page of the lowest extent that overlaps `start` or ends right before it, else -1."""
    at = last_set(ranges, STARTS, start)
    if at == start:  # the one before may end here
        before = last_set(ranges, STARTS, start - 1)
        if before >= 0 and before + ranges[LENGTH + ROW * before] == start:
            at = before
    elif at < 0 or at + ranges[LENGTH + ROW * at] < start:
        at = next_set(ranges, STARTS, start)
    return at


@njit(inline=True)
def _has_index(book):
    return FIRST <= book.policy[0] <= WORST


@njit
def occupy(book, page, count):
    """Take the free pages [page, page + count) out of the book."""
    if book.policy[0] == BUDDY:
        buddy.take(book.blocks, page, count)
    if not _has_index(book):
        take(book.ranges, page, count)
        return
    low, high = _leave(book, page, page + count)
    take(book.ranges, page, count)
    _enter(book, low, high)
    end = page + count
    book.rover[0] = end if end < book.pages[0] else 0


@njit
def release(book, page, count):
    """Give the pages [page, page + count), none of them free, back to the book."""
    if book.policy[0] == BUDDY:
        buddy.give(book.blocks, page, count)
    if not _has_index(book):
        give(book.ranges, page, count)
        return
    low, high = _leave(book, page, page + count)
    give(book.ranges, page, count)
    _enter(book, low, high)


@njit
def granted(book, count):
    """How many pages the policy hands out for a request: a buddy system rounds up."""
    return np.int64(1) << buddy.order_of(count) if book.policy[0] == BUDDY else count


@njit
def place(book, count):
    """First page of the extent, or part of one, that the policy gives to `count` pages; else -1."""
    policy, ranges = book.policy[0], book.ranges
    if count < 1 or count > ranges[FREE_PAGES]:
        return np.int64(-1)
    if policy == RANGE_TREE:
        return find(ranges, count)
    if policy == FIRST:
        return lowest.first_from(book.tree, np.int64(0), count)
    if policy == NEXT:
        return _next_fit(book, count)
    if policy == BUDDY:
        return buddy.find(book.blocks, count, buddy.ORDERS - 1)
    if policy == BEST:
        size = next_set(ranges, SIZES, count - 1)
    else:
        size = last_set(ranges, SIZES, CAPACITY - 1)
    return np.int64(by_size.lowest(book.heap, size + 1)) if size + 1 >= count else np.int64(-1)


@njit(inline=True)
def _next_fit(book, count):
    """The first fit at or after the end of the last allocation, else from the arena's start."""
    ranges, rover = book.ranges, book.rover[0]
    around = last_set(ranges, STARTS, rover)
    if around >= 0 and around + ranges[LENGTH + ROW * around] > rover:  # may have joined across it
        rover = around
    at = lowest.first_from(book.tree, rover, count)
    return at if at >= 0 else lowest.first_from(book.tree, np.int64(0), count)


__all__ = ["Book", "granted", "is_free", "occupy", "open_book", "place", "release"]
